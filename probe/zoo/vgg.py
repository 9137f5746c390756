"""A small VGG with large first filters, for visualisation. Simonyan & Zisserman 2015."""

import torch
from torch import nn

from probe.zoo.chain import chain
from probe.zoo.initialisation import he

# (channels, filter size) of each convolution; None is a max-pooling.
LAYERS = [(32, 7), None, (32, 3), (32, 3), None, (64, 3), (64, 3), None, (128, 3), (128, 3)]


def vgg_small(*, classes: int = 10, channels: int = 3) -> nn.Sequential:
    """Seven convolutions with batch norm and ReLU, global average, one dense layer. 64 x 64, or any size.

    The first filters are 7 x 7, not VGG's 3 x 3, so that an image of a filter shows its edge or colour;
    the single dense layer after the average makes class activation maps exact (Zhou et al. 2016).
    """
    features: list[nn.Module] = []
    into = channels
    for layer in LAYERS:
        if layer is None:
            features.append(nn.MaxPool2d(2))
            continue
        out, size = layer
        features += [
            nn.Conv2d(into, out, size, padding=size // 2, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
        ]
        into = out
    network = he(
        chain(
            features=nn.Sequential(*features),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            classifier=nn.Linear(into, classes),
        )
    )
    # Batch norm makes the network independent of the scale of these filters. From a small scale they soon lose
    # their random initialisation, and an image of a filter shows what was learnt instead of noise.
    with torch.no_grad():
        next(network.parameters()).mul_(0.1)
    return network
