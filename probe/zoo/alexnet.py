"""AlexNet at two smaller sizes, and ZFNet. Krizhevsky et al. 2012; Zeiler & Fergus 2014."""

from torch import nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he


def alexnet_cifar(*, classes: int = 10, channels: int = 3, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet for 32 x 32: padded so that the maps are 8, 4, 2 and 1 wide. 22,589,642 parameters."""
    return _alexnet(
        nn.Conv2d(channels, 96, 11, stride=4, padding=4),
        384,
        1,
        1,
        width=4096,
        classes=classes,
        dropout=dropout,
    )


def alexnet_small(*, classes: int = 5, channels: int = 3, dropout: float = 0.5) -> nn.Sequential:
    """AlexNet for 128 x 128 and few classes: batch norm after the first two convolutions, dense layers of 2048."""
    return _alexnet(
        nn.Conv2d(channels, 96, 11, stride=4, padding=2),
        256,
        3,
        0,
        width=2048,
        classes=classes,
        dropout=dropout,
    )


def zfnet(*, classes: int = 1000, channels: int = 3, dropout: float = 0.5) -> nn.Sequential:
    """ZFNet, 224 x 224: maps of 110, 55, 26, 13, 13, 13, 13 and 6. Zeiler & Fergus 2014, figure 3.

    The contrast normalisation after the first two poolings is Krizhevsky's, across channels.
    """
    return he(
        chain(
            conv1=nn.Conv2d(channels, 96, 7, stride=2, padding=1),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, stride=2, padding=1),
            norm1=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2),
            conv2=nn.Conv2d(96, 256, 5, stride=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, stride=2, padding=1),
            norm2=nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=2),
            **_deep(256, 0),
            **_dense(256 * 6 * 6, 4096, classes, dropout),
        )
    )


def _alexnet(
    first: nn.Conv2d, channels: int, side: int, padding: int, *, width: int, classes: int, dropout: float
) -> nn.Sequential:
    """Five convolutions, then three dense layers. channels, side: of the last pooled maps. padding: of the poolings."""
    return he(
        chain(
            conv1=first,
            bn1=nn.BatchNorm2d(96),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(3, stride=2, padding=padding),
            conv2=nn.Conv2d(96, 256, 5, padding=2),
            bn2=nn.BatchNorm2d(256),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(3, stride=2, padding=padding),
            **_deep(channels, padding),
            **_dense(channels * side**2, width, classes, dropout),
        )
    )


def _deep(channels: int, padding: int) -> dict[str, nn.Module]:
    return {
        "conv3": nn.Conv2d(256, 384, 3, padding=1),
        "relu3": nn.ReLU(),
        "conv4": nn.Conv2d(384, 384, 3, padding=1),
        "relu4": nn.ReLU(),
        "conv5": nn.Conv2d(384, channels, 3, padding=1),
        "relu5": nn.ReLU(),
        "pool5": nn.MaxPool2d(3, stride=2, padding=padding),
    }


def _dense(inputs: int, width: int, classes: int, dropout: float) -> dict[str, nn.Module]:
    return {
        "flatten": nn.Flatten(),
        "dense1": nn.Linear(inputs, width),
        "relu6": nn.ReLU(),
        "dropout1": nn.Dropout(dropout),
        "dense2": nn.Linear(width, width),
        "relu7": nn.ReLU(),
        "dropout2": nn.Dropout(dropout),
        "dense3": nn.Linear(width, classes),
    }
