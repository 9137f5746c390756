"""Defences that hide the gradient or randomise the prediction without making a network robust, around `reader`."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.criteria import Criterion, input_gradient, predict
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.masking import BLACK_BOX, DETERMINISTIC, GRADIENT, LOSSES, QUALITY
from probe.methods.adversarial.quantisation import through_jpeg
from probe.model.model import Model
from tests.methods.adversarial.victims import Rounded, defective, fitted, model_of, reader

SHAPE = (1, 8, 8)


class Sine(nn.Module):
    """x + 0.02 sin(2000 x): the network sees nearly the same image, its gradient changes sign every 0.003."""

    def forward(self, x: Tensor) -> Tensor:
        return x + 0.02 * torch.sin(2000 * x)


class Jpeg(nn.Module):
    """JPEG of quality 75."""

    def forward(self, x: Tensor) -> Tensor:
        return through_jpeg(x.detach().clamp(0, 1), 75).to(x)


class Thermometer(nn.Module):
    """Each pixel as ten bits, bit k set above k / 10. Buckman et al. 2018. soft: a slope in place of the steps."""

    def __init__(self, *, soft: bool = False) -> None:
        super().__init__()
        self.soft = soft

    def forward(self, x: Tensor) -> Tensor:
        levels = (torch.arange(10, device=x.device) / 10).view(1, 10, 1, 1)
        return torch.sigmoid(20 * (x - levels)) if self.soft else (x > levels).to(x.dtype)


class WinnersTakeAll(nn.Module):
    """Only the largest fifth of the activations of an image remains. Xiao et al. 2020, arXiv 1905.10510."""

    def forward(self, x: Tensor) -> Tensor:
        flat = x.flatten(1)
        smallest = flat.topk(max(1, flat.shape[1] // 5), dim=1).values[:, -1]
        return x * (x >= smallest.view(-1, *[1] * (x.ndim - 1)))


class Dropout(nn.Module):
    """Drops a quarter of the pixels in evaluation mode too."""

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, 0.25, training=True)


class RandomSize(nn.Module):
    """Enlarged to a random size, and back. After Xie et al. 2018."""

    def forward(self, x: Tensor) -> Tensor:
        side = int(torch.randint(9, 15, ()))
        return F.interpolate(F.interpolate(x, size=(side, side)), size=x.shape[2:])


class Temperature(nn.Module):
    """Logits times 100."""

    def forward(self, x: Tensor) -> Tensor:
        return 100 * x


class Half(nn.Module):
    """A network in half precision."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.to(torch.bfloat16)).to(x.dtype)


def thermometer_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(10, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip


def winners_network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), WinnersTakeAll(), nn.Conv2d(16, 32, 3, padding=1, stride=2), WinnersTakeAll(),
            nn.Flatten(), nn.Linear(512, 10),
        )  # fmt: skip


@cache
def thermometer() -> tuple[Model, Model]:
    """A network behind thermometer coding, and the same one behind slopes."""
    network = fitted(nn.Sequential(Thermometer(), thermometer_network())).eval()
    return model_of(network, SHAPE, 10), model_of(
        nn.Sequential(Thermometer(soft=True), network[1]), SHAPE, 10
    )


@cache
def winners() -> Model:
    return model_of(fitted(winners_network()).eval(), SHAPE, 10)


Attack = Callable[[Model, Tensor, Tensor, float], Tensor]


def underneath(model: Model) -> Attack:
    """PGD on another network, whose gradient is not masked."""
    return lambda _, x, y, eps: PGD(eps=eps, steps=60, restarts=2, early_stop=False)(model, x, y).pixels


def averaged() -> Attack:
    """PGD on the mean gradient of twenty passes (expectation over transformation, Athalye et al. 2018)."""

    def attack(model: Model, pixels: Tensor, labels: Tensor, eps: float) -> Tensor:
        x = pixels
        for k in range(60):
            total = torch.zeros_like(x)
            for _ in range(20):
                total += input_gradient(model, x, Criterion(labels).loss)[0].nan_to_num()
            step = eps * (1 - k / 60)
            x = torch.minimum(torch.maximum(x + step * total.sign(), pixels - eps), pixels + eps).clamp(0, 1)
        return x

    return attack


def patient() -> Attack:
    """PGD of many steps and restarts, and a search without gradients on what is left."""

    def attack(model: Model, pixels: Tensor, labels: Tensor, eps: float) -> Tensor:
        attacked = PGD(eps=eps, steps=100, restarts=5)(model, pixels, labels).pixels
        rows = (predict(model, attacked).argmax(1) == labels).nonzero()[:, 0]
        if len(rows):
            search = SquareAttack(eps=eps, queries=2000)(model, pixels[rows], labels[rows])
            attacked = attacked.index_put((rows,), search.pixels)
        return attacked

    return attack


@dataclass(frozen=True)
class Defence:
    """A network, an attack that knows how to get past its defence, and the checks that must warn."""

    name: str
    model: Callable[[], Model]
    attack: Callable[[], Attack]
    warns: tuple[str, ...]


def true_accuracy(defence: Defence, pixels: Tensor, labels: Tensor, eps: float) -> float:
    """Of the defended network under the attack, the mean of five passes."""
    attacked = defence.attack()(defence.model(), pixels, labels, eps)
    right = [predict(defence.model(), attacked).argmax(1) == labels for _ in range(5)]
    return float(torch.stack(right).float().mean())


DEFENCES = (
    Defence(
        "rounding",
        lambda: defective(Rounded(), before=True),
        lambda: underneath(reader()),
        (GRADIENT, BLACK_BOX),
    ),
    Defence("thermometer", lambda: thermometer()[0], lambda: underneath(thermometer()[1]), (GRADIENT,)),
    Defence("jpeg", lambda: defective(Jpeg(), before=True), lambda: underneath(reader()), (GRADIENT,)),
    Defence("sine", lambda: defective(Sine(), before=True), lambda: underneath(reader()), (QUALITY,)),
    Defence("winners take all", winners, patient, (QUALITY, BLACK_BOX)),
    Defence("dropout", lambda: defective(Dropout(), before=True), averaged, (DETERMINISTIC,)),
    Defence("random size", lambda: defective(RandomSize(), before=True), averaged, (DETERMINISTIC,)),
    Defence(
        "temperature", lambda: defective(Temperature(), before=False), lambda: underneath(reader()), (LOSSES,)
    ),
    Defence(
        "half precision",
        lambda: model_of(Half(reader().network), SHAPE, 10),
        lambda: underneath(reader()),
        (),
    ),
)
