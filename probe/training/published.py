"""Published test accuracies of architectures on data sets."""

from typing import Any

_LOSSLESS = "the lossless CIFAR-10"
_HE = "He et al. 2016, table 6, arXiv 1512.03385"
_RESULTS = {
    ("lenet5", "mnist"): (0.9905, "MNIST", "LeCun et al. 1998, section III C"),
    ("lenet5-keras", "mnist"): (0.9871, "MNIST", "the Keras variant after 12 epochs"),
    ("mnist-convnet", "mnist"): (
        0.994,
        "MNIST",
        "the MNIST tutorial network of TensorFlow, dense layer of 1024",
    ),
    ("alexnet-cifar", "cifar10"): (0.555, _LOSSLESS, "AlexNet at 32 x 32 after 50 epochs"),
    ("resnet20", "cifar10"): (0.9125, _LOSSLESS, _HE),
    ("resnet32", "cifar10"): (0.9249, _LOSSLESS, _HE),
    ("resnet44", "cifar10"): (0.9283, _LOSSLESS, _HE),
    ("resnet56", "cifar10"): (0.9303, _LOSSLESS, _HE),
    ("resnet110", "cifar10"): (0.9357, _LOSSLESS, _HE),
}


def published_result(arch: str, data: str) -> dict[str, Any]:
    """{"test_accuracy", "data", "source"} of the published result, under "published"; empty where none is known.

    >>> published_result("resnet20", "cifar10")["published"]["test_accuracy"]
    0.9125
    >>> published_result("resnet20", "shapes")
    {}
    """
    result = _RESULTS.get((arch, data.partition(":")[0]))
    if result is None:
        return {}
    return {"published": dict(zip(("test_accuracy", "data", "source"), result, strict=True))}
