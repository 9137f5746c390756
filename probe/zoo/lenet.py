"""LeNet-5 as textbooks draw it, and variants. LeCun et al. 1998."""

from torch import nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he, xavier


def lenet5(*, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """Two convolutions, each with tanh and average pooling, and a third. 32 x 32; 61,706 parameters.

    As textbooks draw it: C3 is connected to all six maps of S2, pooling has no weights, the output layer is dense,
    and no activation follows the third convolution.
    """
    return xavier(
        _lenet5(
            {"act1": nn.Tanh(), "pool1": nn.AvgPool2d(2)},
            {"act2": nn.Tanh(), "pool2": nn.AvgPool2d(2)},
            nn.Tanh(),
            classes,
            channels,
        )
    )


def lenet5_sigmoid(*, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """Variant A: max-pooling, then the sigmoid. 32 x 32; 61,706 parameters."""
    return xavier(
        _lenet5(
            {"pool1": nn.MaxPool2d(2), "act1": nn.Sigmoid()},
            {"pool2": nn.MaxPool2d(2), "act2": nn.Sigmoid()},
            nn.Sigmoid(),
            classes,
            channels,
        )
    )


def lenet5_maxpool(*, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """Variant B: max-pooling is the only nonlinearity of the convolutional part. 32 x 32; 61,706 parameters."""
    return xavier(
        _lenet5({"pool1": nn.MaxPool2d(2)}, {"pool2": nn.MaxPool2d(2)}, nn.Tanh(), classes, channels)
    )


def lenet5_relu(*, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """`lenet5` with ReLU in place of tanh and nothing else changed. 32 x 32; 61,706 parameters."""
    return he(
        _lenet5(
            {"act1": nn.ReLU(), "pool1": nn.AvgPool2d(2)},
            {"act2": nn.ReLU(), "pool2": nn.AvgPool2d(2)},
            nn.ReLU(),
            classes,
            channels,
        )
    )


def _lenet5(
    after1: dict[str, nn.Module],
    after2: dict[str, nn.Module],
    after_dense: nn.Module,
    classes: int,
    channels: int,
) -> nn.Sequential:
    return chain(
        conv1=nn.Conv2d(channels, 6, 5),
        **after1,
        conv2=nn.Conv2d(6, 16, 5),
        **after2,
        conv3=nn.Conv2d(16, 120, 5),
        flatten=nn.Flatten(),
        dense1=nn.Linear(120, 84),
        act3=after_dense,
        dense2=nn.Linear(84, classes),
    )


def lenet5_keras(*, classes: int = 10, channels: int = 1) -> nn.Sequential:
    """Two tanh convolutions, two sigmoid dense layers. 28 x 28; 44,426 parameters."""
    return xavier(
        chain(
            conv1=nn.Conv2d(channels, 6, 5),
            act1=nn.Tanh(),
            pool1=nn.AvgPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            act2=nn.Tanh(),
            pool2=nn.AvgPool2d(2),
            flatten=nn.Flatten(),
            dense1=nn.Linear(16 * 4 * 4, 120),
            act3=nn.Sigmoid(),
            dense2=nn.Linear(120, 84),
            act4=nn.Sigmoid(),
            dense3=nn.Linear(84, classes),
        )
    )
