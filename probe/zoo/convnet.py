"""Small ConvNets of textbooks for MNIST and CIFAR-10."""

from torch import nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he


def mnist_convnet(
    *, classes: int = 10, channels: int = 1, dropout: float = 0.5, width: int = 1024
) -> nn.Sequential:
    """Two pooled 5 x 5 convolutions of 32 and 64, a dense layer of `width`. 28 x 28; 3,274,634 parameters.

    With width 256 it has a quarter of them, 857,738, nearly all in the dense layer.
    """
    return he(
        chain(
            conv1=nn.Conv2d(channels, 32, 5, padding=2),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(32, 64, 5, padding=2),
            relu2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64 * 7 * 7, width),
            relu3=nn.ReLU(),
            dropout=nn.Dropout(dropout),
            dense2=nn.Linear(width, classes),
        )
    )


def strided_convnet(
    *, classes: int = 10, channels: int = 1, width: int = 32, dense: int = 200
) -> nn.Sequential:
    """Two 4 x 4 convolutions with stride 2 in place of pooling, and a dense layer. 28 x 28; 662,786 parameters.

    Wong & Kolter 2018, with twice their widths (16 and 100): small enough to be attacked in every training step.
    """
    return he(
        chain(
            conv1=nn.Conv2d(channels, width, 4, stride=2, padding=1),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            dense1=nn.Linear(2 * width * 7 * 7, dense),
            relu3=nn.ReLU(),
            dense2=nn.Linear(dense, classes),
        )
    )


def cifar_convnet(*, classes: int = 10, channels: int = 3, flatten: bool = True) -> nn.Sequential:
    """Five 3 x 3 convolutions without padding, then a dense layer of 1024. 32 x 32.

    flatten: True flattens the 3 x 3 maps (703,594 parameters), False applies global max-pooling
    (179,306 parameters, images of any size from 18 x 18).
    """
    last = nn.Flatten() if flatten else nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten())
    return he(
        chain(
            conv1=nn.Conv2d(channels, 32, 3),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(32, 32, 3),
            relu2=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv3=nn.Conv2d(32, 64, 3),
            relu3=nn.ReLU(),
            conv4=nn.Conv2d(64, 64, 3),
            relu4=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            conv5=nn.Conv2d(64, 64, 3),
            relu5=nn.ReLU(),
            flatten=last,
            dense1=nn.Linear(64 * 3 * 3 if flatten else 64, 1024),
            relu6=nn.ReLU(),
            dense2=nn.Linear(1024, classes),
        )
    )


def conv2(*, classes: int = 10, channels: int = 3, batch_norm: bool = False) -> nn.Sequential:
    """Two pooled 5 x 5 convolutions of 64, then dense 384 and 192. 24 x 24 crops of CIFAR-10.

    batch_norm: normalise before each of the four ReLUs. Ioffe & Szegedy 2015.
    """
    network = nn.Sequential()

    def stage(number: int, layer: nn.Conv2d | nn.Linear, norm: nn.Module) -> None:
        network.add_module(f"conv{number}" if number < 3 else f"dense{number - 2}", layer)
        if batch_norm:
            network.add_module(f"bn{number}", norm)
        network.add_module(f"relu{number}", nn.ReLU())

    # Batch norm subtracts the mean: a bias before it would have no effect.
    bias = not batch_norm
    stage(1, nn.Conv2d(channels, 64, 5, padding=2, bias=bias), nn.BatchNorm2d(64))
    network.add_module("pool1", nn.MaxPool2d(2))
    stage(2, nn.Conv2d(64, 64, 5, padding=2, bias=bias), nn.BatchNorm2d(64))
    network.add_module("pool2", nn.MaxPool2d(2))
    network.add_module("flatten", nn.Flatten())
    stage(3, nn.Linear(64 * 6 * 6, 384, bias=bias), nn.BatchNorm1d(384))
    stage(4, nn.Linear(384, 192, bias=bias), nn.BatchNorm1d(192))
    network.add_module("dense3", nn.Linear(192, classes))
    return he(network)
