"""The table of architectures; it loads no torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Architecture:
    """An architecture by name: its default input and classes, and its source.

    shape: (channels, height, width) of an image, or (tokens,) for a text of word indices.
    any_size: whether it takes images of any other height and width.
    options: arguments that the name fixes; `build` may override them.
    """

    name: str
    title: str
    builder: str
    """Module of this package and function in it, as "lenet:lenet5"."""
    shape: tuple[int, ...]
    source: str
    classes: int = 10
    any_size: bool = False
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @property
    def takes_images(self) -> bool:
        return len(self.shape) == 3

    @property
    def input_size(self) -> str:
        """Its input as text, such as "3 x 32 x 32"."""
        return " x ".join(map(str, self.shape)) if self.takes_images else f"{self.shape[0]} words"


def _table() -> list[Architecture]:
    lecun = "LeCun et al. 1998, Gradient-based learning applied to document recognition"
    krizhevsky = "Krizhevsky et al. 2012, ImageNet classification with deep convolutional neural networks"
    simonyan = "Simonyan & Zisserman 2015, arXiv 1409.1556"
    ioffe = "Ioffe & Szegedy 2015, arXiv 1502.03167"
    he = "He et al. 2016, section 4.2, arXiv 1512.03385"
    grey, colour = (1, 32, 32), (3, 32, 32)
    depths = (20, 32, 44, 56, 110)
    return [
        Architecture("lenet5", "LeNet-5, tanh and average pooling", "lenet:lenet5", grey, lecun),
        Architecture(
            "lenet5-sigmoid", "LeNet-5, max-pooling then sigmoid", "lenet:lenet5_sigmoid", grey, lecun
        ),
        Architecture("lenet5-maxpool", "LeNet-5, max-pooling alone", "lenet:lenet5_maxpool", grey, lecun),
        Architecture("lenet5-relu", "LeNet-5, ReLU", "lenet:lenet5_relu", grey, lecun),
        Architecture(
            "lenet5-keras", "LeNet-5 for 28 x 28, tanh and sigmoid", "lenet:lenet5_keras", (1, 28, 28), lecun
        ),
        Architecture(
            "dense-baseline",
            "Dense layers with as many parameters as LeNet-5",
            "dense:dense_baseline",
            grey,
            lecun,
        ),
        Architecture(
            "mnist-convnet",
            "Two convolutions and a wide dense layer",
            "convnet:mnist_convnet",
            (1, 28, 28),
            "Krizhevsky et al. 2012; the MNIST tutorial network of TensorFlow",
        ),
        Architecture(
            "strided-convnet",
            "Two strided 4 x 4 convolutions, fast to train adversarially",
            "convnet:strided_convnet",
            (1, 28, 28),
            "Wong & Kolter 2018, arXiv 1711.00851",
        ),
        Architecture(
            "cifar-convnet",
            "Five 3 x 3 convolutions, flattened",
            "convnet:cifar_convnet",
            colour,
            simonyan,
            options={"flatten": True},
        ),
        Architecture(
            "cifar-convnet-gmp",
            "Five 3 x 3 convolutions, global max-pooling",
            "convnet:cifar_convnet",
            colour,
            simonyan,
            any_size=True,
            options={"flatten": False},
        ),
        Architecture(
            "conv2",
            "Two convolutions for 24 x 24 crops",
            "convnet:conv2",
            (3, 24, 24),
            ioffe,
            options={"batch_norm": False},
        ),
        Architecture(
            "conv2-bn",
            "Two convolutions for 24 x 24 crops, batch norm",
            "convnet:conv2",
            (3, 24, 24),
            ioffe,
            options={"batch_norm": True},
        ),
        Architecture("alexnet-cifar", "AlexNet for 32 x 32", "alexnet:alexnet_cifar", colour, krizhevsky),
        Architecture(
            "alexnet-small",
            "AlexNet for 128 x 128 and few classes",
            "alexnet:alexnet_small",
            (3, 128, 128),
            krizhevsky,
            classes=5,
        ),
        Architecture(
            "zfnet",
            "ZFNet",
            "alexnet:zfnet",
            (3, 224, 224),
            "Zeiler & Fergus 2014, figure 3, arXiv 1311.2901",
            classes=1000,
        ),
        *(
            Architecture(
                f"resnet{n}",
                f"ResNet-{n} for CIFAR",
                "resnet:resnet",
                colour,
                he,
                any_size=True,
                options={"depth": n},
            )
            for n in depths
        ),
        *(
            Architecture(
                f"plain{n}",
                f"ResNet-{n} without skip connections",
                "resnet:plain",
                colour,
                he,
                any_size=True,
                options={"depth": n},
            )
            for n in depths
        ),
        Architecture(
            "vgg-small",
            "Small VGG with large first filters",
            "vgg:vgg_small",
            (3, 64, 64),
            simonyan,
            any_size=True,
        ),
        Architecture(
            "densenet-cifar",
            "Densely connected, bottlenecks and compression",
            "densenet:densenet",
            colour,
            "Huang et al. 2017, arXiv 1608.06993",
            any_size=True,
        ),
        Architecture(
            "mobilenet-cifar",
            "Depthwise separable convolutions",
            "mobilenet:mobilenet",
            colour,
            "Howard et al. 2017, arXiv 1704.04861",
            any_size=True,
        ),
        Architecture(
            "text-convnet",
            "1-D convolutions over word embeddings; probe builds it but has no texts to train it on",
            "text:text_convnet",
            (500,),
            "Kim 2014, arXiv 1408.5882",
            classes=1,
            any_size=True,
        ),
    ]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType({entry.name: entry for entry in _table()})
"""By name, roughly in order of publication."""
