"""ResNets for CIFAR, and the same networks without skip connections. He et al. 2016, section 4.2, arXiv 1512.03385."""

from torch import Tensor, nn
from torch.nn import functional as F

from probe.errors import UserError
from probe.zoo.chain import chain
from probe.zoo.initialisation import he


def resnet(*, classes: int = 10, channels: int = 3, depth: int = 20) -> nn.Sequential:
    """Three stages of (depth - 2) / 6 blocks with 16, 32 and 64 channels; shortcuts without parameters.

    Parameters for 10 classes: ResNet-20 has 269,722, 32 has 464,154, 44 has 658,586, 56 has 853,018,
    110 has 1,727,962. Raises UserError unless depth = 6 n + 2.
    """
    return _cifar_net(BasicBlock, classes, channels, depth)


def plain(*, classes: int = 10, channels: int = 3, depth: int = 20) -> nn.Sequential:
    """`resnet` without the skip connections; the other layers are the same."""
    return _cifar_net(PlainBlock, classes, channels, depth)


class PlainBlock(nn.Module):
    """Two 3 x 3 convolutions, each with batch norm and ReLU."""

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(into, out, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.relu2 = nn.ReLU()

    def residual(self, x: Tensor) -> Tensor:
        """The residual branch, before the last ReLU; its output is that of `bn2`."""
        return self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.residual(x))


class BasicBlock(PlainBlock):
    """A plain block whose input is added before the last ReLU.

    `shortcut` and `add` are modules, so that the skip connection and the sum have layer addresses.
    """

    def __init__(self, into: int, out: int, stride: int) -> None:
        super().__init__(into, out, stride)
        self.shortcut = nn.Identity() if into == out and stride == 1 else Subsample(out - into, stride)
        self.add = Add()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu2(self.add(self.residual(x), self.shortcut(x)))


class Subsample(nn.Module):
    """Shortcut of option A: every second pixel, with zero channels on both sides of the input's."""

    def __init__(self, added: int, stride: int) -> None:
        super().__init__()
        self.before, self.after, self.stride = added // 2, added - added // 2, stride

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.before, self.after))

    def extra_repr(self) -> str:
        return f"stride={self.stride}, channels before={self.before}, after={self.after}"


class Add(nn.Module):
    """The sum of the residual branch and the skip connection."""

    def forward(self, residual: Tensor, skip: Tensor) -> Tensor:
        return residual + skip


def _cifar_net(block: type[PlainBlock], classes: int, channels: int, depth: int) -> nn.Sequential:
    """A 3 x 3 convolution, three stages of blocks, global average pooling and a dense layer."""
    if not 8 <= depth <= 1202 or depth % 6 != 2:
        raise UserError(
            f"depth must be 6 n + 2, such as 20, 32, 44, 56 or 110, and at most 1202, got {depth}"
        )
    blocks = (depth - 2) // 6
    return he(
        chain(
            conv1=nn.Conv2d(channels, 16, 3, padding=1, bias=False),
            bn1=nn.BatchNorm2d(16),
            relu=nn.ReLU(),
            layer1=_stage(block, 16, 16, blocks, stride=1),
            layer2=_stage(block, 16, 32, blocks, stride=2),
            layer3=_stage(block, 32, 64, blocks, stride=2),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            linear=nn.Linear(64, classes),
        )
    )


def _stage(block: type[PlainBlock], into: int, out: int, blocks: int, *, stride: int) -> nn.Sequential:
    return nn.Sequential(block(into, out, stride), *(block(out, out, 1) for _ in range(blocks - 1)))
