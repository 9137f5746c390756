"""Small networks that call their ReLUs in many ways, and a slow backward pass through them, written out in NumPy."""

import threading
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from probe.model.cards import Card, Input
from probe.model.model import Model

SIDE, CLASSES = 6, 3


def model_of(network: nn.Module, *, classes: int = CLASSES, side: int = SIDE, channels: int = 2) -> Model:
    """In float64, with a normalisation whose numbers are exact."""
    card = Card(
        name="small",
        architecture="file.py:small",
        classes=tuple(f"class {i}" for i in range(classes)),
        input=Input(
            shape=(channels, side, side), mean=(0.5,) * channels, std=(0.25,) * channels, preprocess=""
        ),
    )
    return Model(network.double(), card)


def images(n: int = 5, channels: int = 2, side: int = SIDE) -> Tensor:
    return torch.rand(
        n, channels, side, side, dtype=torch.float64, generator=torch.Generator().manual_seed(3)
    )


class Value:
    """A number of the forward pass and the signal that came back to it."""

    def __init__(self, data: np.ndarray) -> None:
        self.data = data
        self.signal = np.zeros_like(data)


class Tape:
    """The slow oracle: remembers how to go back, step by step, with the rules written out in NumPy."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        self.steps: list[Callable[[], None]] = []

    def back(self, output: Value, signal: np.ndarray) -> None:
        output.signal += signal
        for step in reversed(self.steps):
            step()

    def conv(self, x: Value, weight: np.ndarray, bias: np.ndarray) -> Value:
        """A 3 x 3 convolution with a border of one zero."""
        padded = np.pad(x.data, ((0, 0), (0, 0), (1, 1), (1, 1)))
        windows = sliding_window_view(padded, (3, 3), axis=(2, 3))
        y = Value(np.einsum("nchwij,ocij->nohw", windows, weight) + bias[None, :, None, None])

        def step() -> None:
            back = np.zeros_like(padded)
            height, width = y.data.shape[2:]
            for i in range(3):
                for j in range(3):
                    back[:, :, i : i + height, j : j + width] += np.einsum(
                        "nohw,oc->nchw", y.signal, weight[:, :, i, j]
                    )
            x.signal += back[:, :, 1:-1, 1:-1]

        self.steps.append(step)
        return y

    def relu(self, x: Value, ceiling: float = np.inf) -> Value:
        y = Value(np.clip(x.data, 0, ceiling))

        def step() -> None:
            passes = (x.data > 0) & (x.data < ceiling)
            if self.rule == "gradient":
                x.signal += np.where(passes, y.signal, 0)
            elif self.rule == "deconvnet":
                x.signal += np.where(y.signal > 0, y.signal, 0)
            else:
                x.signal += np.where(passes & (y.signal > 0), y.signal, 0)

        self.steps.append(step)
        return y

    def pool(self, x: Value) -> Value:
        """2 x 2 max-pooling; the signal goes to the switch."""
        n, c, height, width = x.data.shape
        cells = x.data.reshape(n, c, height // 2, 2, width // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        cells = cells.reshape(n, c, height // 2, width // 2, 4)
        switch = cells.argmax(-1)
        y = Value(cells.max(-1))

        def step() -> None:
            for index in np.ndindex(*switch.shape):
                row, column = divmod(int(switch[index]), 2)
                a, b, i, j = index
                x.signal[a, b, 2 * i + row, 2 * j + column] += y.signal[index]

        self.steps.append(step)
        return y

    def add(self, a: Value, b: Value) -> Value:
        y = Value(a.data + b.data)

        def step() -> None:
            a.signal += y.signal
            b.signal += y.signal

        self.steps.append(step)
        return y

    def dense(self, x: Value, weight: np.ndarray, bias: np.ndarray) -> Value:
        y = Value(x.data.reshape(len(x.data), -1) @ weight.T + bias)

        def step() -> None:
            x.signal += (y.signal @ weight).reshape(x.data.shape)

        self.steps.append(step)
        return y


class Small(nn.Module):
    """Four convolutions and a dense layer; a subclass says how they are joined."""

    def __init__(self, relu: Callable[[Tensor], Tensor] = F.relu) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2, self.conv3, self.conv4 = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.dense = nn.Linear(4 * (SIDE // 2) ** 2, CLASSES)
        self.relu = relu  # a module is registered, a function is kept
        rng = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=rng) * 0.4

    def forward(self, x: Tensor) -> Tensor:
        r = self.relu
        x = r(self.conv1(x))
        x = F.max_pool2d(r(self.conv2(x)), 2)
        return self.dense(r(self.conv3(x)).flatten(1))

    def slow(self, tape: Tape, x: Value) -> Value:
        x = tape.relu(self.conv(tape, x, 1))
        x = tape.pool(tape.relu(self.conv(tape, x, 2)))
        return self.last(tape, tape.relu(self.conv(tape, x, 3)))

    def conv(self, tape: Tape, x: Value, i: int) -> Value:
        layer = getattr(self, f"conv{i}")
        return tape.conv(x, layer.weight.numpy(), layer.bias.numpy())

    def last(self, tape: Tape, x: Value) -> Value:
        return tape.dense(x, self.dense.weight.numpy(), self.dense.bias.numpy())


class Apart(Small):
    """A module of its own for every ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.relu1, self.relu2, self.relu3 = nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu1(self.conv1(x))
        x = F.max_pool2d(self.relu2(self.conv2(x)), 2)
        return self.dense(self.relu3(self.conv3(x)).flatten(1))


class Interleaved(Small):
    """One ReLU that two branches call in turn."""

    def forward(self, x: Tensor) -> Tensor:
        r = self.relu
        h = F.max_pool2d(self.conv1(x), 2)
        a, b = r(h), r(self.conv2(h))
        a, b = self.conv3(b), self.conv4(a)
        return self.dense((r(a) + r(b)).flatten(1))

    def slow(self, tape: Tape, x: Value) -> Value:
        h = tape.pool(self.conv(tape, x, 1))
        a, b = tape.relu(h), tape.relu(self.conv(tape, h, 2))
        a, b = self.conv(tape, b, 3), self.conv(tape, a, 4)
        return self.last(tape, tape.add(tape.relu(a), tape.relu(b)))


class PreActivation(Small):
    """The input of a ReLU goes round it, too."""

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(self.conv1(x), 2)
        h = h + self.conv2(self.relu(h))
        return self.dense((h + self.conv3(self.relu(h))).flatten(1))

    def slow(self, tape: Tape, x: Value) -> Value:
        h = tape.pool(self.conv(tape, x, 1))
        h = tape.add(h, self.conv(tape, tape.relu(h), 2))
        return self.last(tape, tape.add(h, self.conv(tape, tape.relu(h), 3)))


class TwoOnOne(Small):
    """Two ReLUs on one tensor."""

    def forward(self, x: Tensor) -> Tensor:
        h = F.max_pool2d(self.conv1(x), 2)
        return self.dense((self.conv2(self.relu(h)) + self.conv3(self.relu(h))).flatten(1))

    def slow(self, tape: Tape, x: Value) -> Value:
        h = tape.pool(self.conv(tape, x, 1))
        a, b = self.conv(tape, tape.relu(h), 2), self.conv(tape, tape.relu(h), 3)
        return self.last(tape, tape.add(a, b))


class Checkpointed(Small):
    """The middle is computed again on the way back."""

    reentrant = False

    def middle(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.relu(self.conv2(self.relu(self.conv1(x)))), 2)

    def forward(self, x: Tensor) -> Tensor:
        x = checkpoint(self.middle, x, use_reentrant=self.reentrant)
        return self.dense(self.relu(self.conv3(x)).flatten(1))


class InAnotherThread(Small):
    """The convolutions run in a thread of the network's own."""

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []

        def work() -> None:
            with torch.enable_grad():
                found.append(Small.forward(self, x))

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        return found[0]


class Six(Small):
    """ReLU6: a ceiling too."""

    def slow(self, tape: Tape, x: Value) -> Value:
        x = tape.relu(self.conv(tape, x, 1), 6)
        x = tape.pool(tape.relu(self.conv(tape, x, 2), 6))
        return self.last(tape, tape.relu(self.conv(tape, x, 3), 6))


def threshold(x: Tensor) -> Tensor:
    return F.threshold(x, 0.0, 0.0)


def relu_in_place(x: Tensor) -> Tensor:
    return F.relu(x, inplace=True)


NETWORKS: dict[str, Callable[[], Small]] = {
    "a module each": Apart,
    "one module, reused": lambda: Small(nn.ReLU()),
    "one module, reused, in place": lambda: Small(nn.ReLU(inplace=True)),
    "function": lambda: Small(F.relu),
    "function in place": lambda: Small(relu_in_place),
    "torch.relu": lambda: Small(torch.relu),
    "torch.relu_": lambda: Small(torch.relu_),
    "method": lambda: Small(lambda x: x.relu()),
    "method in place": lambda: Small(lambda x: x.relu_()),
    "threshold at zero": lambda: Small(threshold),
    "interleaved module": lambda: Interleaved(nn.ReLU()),
    "interleaved function": Interleaved,
    "pre-activation skip, module": lambda: PreActivation(nn.ReLU()),
    "pre-activation skip, function": PreActivation,
    "two ReLUs on one tensor": TwoOnOne,
    "two ReLUs on one tensor, module": lambda: TwoOnOne(nn.ReLU()),
    "checkpointed": Checkpointed,
    "in a thread of its own": InAnotherThread,
    "ReLU6": lambda: Six(nn.ReLU6()),
}


def slow_picture(network: Small, pixels: Tensor, classes: Tensor, rule: str) -> np.ndarray:
    tape = Tape(rule)
    x = Value((pixels.numpy() - 0.5) / 0.25)
    output = network.slow(tape, x)
    signal = np.zeros_like(output.data)
    signal[np.arange(len(signal)), classes.numpy()] = 1
    tape.back(output, signal)
    return x.signal / 0.25


def state(network: nn.Module) -> tuple:
    """Everything that could be left on a network."""
    return (
        {name: value.clone() for name, value in network.state_dict().items()},
        [module.training for module in network.modules()],
        [(p.grad, p.requires_grad) for p in network.parameters()],
        [
            [len(vars(module)[kind]) for kind in sorted(vars(module)) if kind.endswith("_hooks")]
            for module in network.modules()
        ],
    )


def assert_untouched(network: nn.Module, before: tuple) -> None:
    after = state(network)
    assert before[1:] == after[1:]
    assert all(torch.equal(before[0][name], after[0][name]) for name in before[0])
