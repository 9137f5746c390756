"""The three ReLU rules hold wherever and however a network calls its ReLUs; everything else is refused."""

import copy
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from probe.errors import NoGradientError, UserError
from probe.methods.attribution.relu_rules import RULES, NoRelu, backpropagate, count_relus, relu_rule
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.model.targets import UnitTargets, contrast

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


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_equals_a_slow_backward_pass(name, rule):
    network = NETWORKS[name]()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    wanted = slow_picture(network, pixels, classes, rule)
    before = state(network)
    picture = backpropagate(model, pixels, classes, rule=rule)
    assert_untouched(network, before)
    assert np.abs(wanted).max() > 0.1
    np.testing.assert_allclose(picture.numpy(), wanted, rtol=0, atol=1e-10)


def test_the_three_rules_differ_from_each_other():
    model = model_of(Small())
    shown = [backpropagate(model, images(), torch.zeros(5).long(), rule=rule) for rule in RULES]
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert (shown[one] - shown[other]).abs().max() > 0.1


@pytest.mark.parametrize("rule", RULES)
def test_a_call_from_another_thread_gives_the_same_picture(rule):
    model = model_of(Small())
    here = backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
    there: list[Tensor] = []
    thread = threading.Thread(
        target=lambda: there.append(backpropagate(model, images(), torch.zeros(5).long(), rule=rule))
    )
    thread.start()
    thread.join()
    assert torch.equal(here, there[0])


@pytest.mark.filterwarnings("ignore::UserWarning")  # the compiler's own, while it compiles
@pytest.mark.parametrize("rule", RULES)
def test_a_compiled_network_gives_the_picture_of_the_plain_one(rule):
    network = Small(nn.ReLU())
    pixels, classes = images(), torch.zeros(5).long()
    wanted = slow_picture(network.double().requires_grad_(False), pixels, classes, rule)
    compiled = torch.compile(copy.deepcopy(network), backend="eager")
    assert isinstance(compiled, nn.Module)
    whole = model_of(compiled)
    np.testing.assert_allclose(backpropagate(whole, pixels, classes, rule=rule), wanted, rtol=0, atol=1e-10)

    inner = copy.deepcopy(network)
    inner.forward = torch.compile(inner.forward, backend="aot_eager")
    outer = model_of(nn.Sequential(inner))
    outer.logits(pixels.clone().requires_grad_())  # compiled before it is asked for
    np.testing.assert_allclose(backpropagate(outer, pixels, classes, rule=rule), wanted, rtol=0, atol=1e-10)


def test_a_picture_can_be_asked_for_where_gradients_are_off():
    model = model_of(Small())
    wanted = backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    with torch.no_grad():
        assert torch.equal(wanted, backpropagate(model, images(), torch.zeros(5).long(), rule="guided"))
    with torch.inference_mode():
        again = backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    assert torch.equal(wanted, again)


@pytest.mark.parametrize("rule", RULES)
def test_a_batch_gives_what_one_by_one_gives(rule):
    model = model_of(Interleaved())
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    together = backpropagate(model, pixels, classes, rule=rule)
    apart = [backpropagate(model, pixels[i : i + 1], classes[i : i + 1], rule=rule) for i in range(5)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_many_units_of_one_image_in_one_call_equal_a_call_for_each(rule):
    model = model_of(Small(nn.ReLU()))
    one = images(1)
    rng = torch.Generator().manual_seed(1)
    places = torch.randint(3, (16, 2), generator=rng)
    units = UnitTargets("conv3", torch.randint(4, (16,), generator=rng), places)
    together = backpropagate(model, one, units, rule=rule)
    for i in range(16):
        row, column = places[i].tolist()
        address = model.layers.parse(f"conv3:{int(units.channels[i])}:{row},{column}")
        alone = backpropagate(model, one, address, rule=rule)
        torch.testing.assert_close(together[i : i + 1], alone, rtol=0, atol=1e-12)


def test_a_channel_is_the_sum_of_its_units():
    model = model_of(Small())
    whole = backpropagate(model, images(1), model.layers.parse("conv3:2"))
    places = torch.cartesian_prod(torch.arange(3), torch.arange(3))
    parts = backpropagate(model, images(1), UnitTargets("conv3", torch.full((9,), 2), places))
    torch.testing.assert_close(whole[0], parts.sum(0), rtol=0, atol=1e-12)


def test_what_is_asked_of_a_unit_does_not_depend_on_what_comes_after_it():
    network = Small()
    model = model_of(network)
    address = model.layers.parse("conv2:1:2,2")
    before = backpropagate(model, images(), address, rule="guided")
    network.dense.weight.data.mul_(-3)
    network.conv3.weight.data.mul_(-3)
    assert torch.equal(before, backpropagate(model, images(), address, rule="guided"))


def test_the_difference_of_two_classes_is_the_difference_of_their_gradients():
    model = model_of(Small())
    first, second = torch.tensor([0, 1, 2, 1, 0]), torch.tensor([1, 2, 0, 0, 2])
    apart = backpropagate(model, images(), first) - backpropagate(model, images(), second)
    together = backpropagate(model, images(), contrast(first, second, CLASSES))
    torch.testing.assert_close(together, apart, rtol=0, atol=1e-12)


def test_the_forward_pass_is_the_same_bits_inside_the_rule():
    network = Small().double()
    pixels = images()
    with relu_rule("deconvnet"):
        inside = network(pixels)
    assert torch.equal(inside, network(pixels))


def test_the_gradient_of_a_linear_network_is_its_weights():
    dense = nn.Linear(2 * SIDE * SIDE, CLASSES)
    model = model_of(nn.Sequential(nn.Flatten(), dense))
    picture = backpropagate(model, images(2), torch.tensor([2, 0]))
    weights = dense.weight.detach()[[2, 0]].view(2, 2, SIDE, SIDE) / 0.25
    torch.testing.assert_close(picture, weights, rtol=0, atol=1e-12)


def test_zennit_agrees_where_every_relu_is_a_module():
    from zennit.attribution import Gradient
    from zennit.composites import LayerMapComposite
    from zennit.rules import ReLUDeconvNet, ReLUGuidedBackprop

    network = Apart()
    network.relu2 = nn.ReLU()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    for rule, hook in (("deconvnet", ReLUDeconvNet()), ("guided", ReLUGuidedBackprop())):
        composite = LayerMapComposite([(nn.ReLU, hook)])
        inputs = model.normalise(pixels).requires_grad_()
        with Gradient(network, composite) as attributor:
            wanted = attributor(inputs, F.one_hot(classes, CLASSES).double())[1]  # pyrefly: ignore
        picture = backpropagate(model, pixels, classes, rule=rule) * 0.25
        torch.testing.assert_close(picture, wanted, rtol=0, atol=1e-12)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_captum_agrees_where_no_tensor_is_shared():
    from captum.attr import Deconvolution, GuidedBackprop

    network = Apart()
    network.relu2 = nn.ReLU()
    model = model_of(network)
    pixels, classes = images(), torch.tensor([0, 1, 2, 1, 0])
    for rule, method in (("deconvnet", Deconvolution), ("guided", GuidedBackprop)):
        inputs = model.normalise(pixels).requires_grad_()
        wanted = method(network).attribute(inputs, target=classes)
        picture = backpropagate(model, pixels, classes, rule=rule) * 0.25
        torch.testing.assert_close(picture, wanted.detach(), rtol=0, atol=1e-12)


def test_relus_are_counted_only_where_the_output_depends_on_them():
    network = Interleaved().double()
    x = images().requires_grad_()
    assert count_relus(network(x)) == 4
    branch = F.relu(network.conv1(x))
    F.relu(branch.sum())
    assert count_relus(network.conv2(branch)) == 1


def test_a_network_without_relus_is_told_what_would_be_shown():
    model = model_of(Small(torch.tanh))
    for rule in ("deconvnet", "guided"):
        with pytest.raises(
            NoRelu, match=r"no ReLU in small .*: deconvnet and guided backprop would equal the plain"
        ):
            backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
    assert backpropagate(model, images(), torch.zeros(5).long()).abs().max() > 0


@pytest.mark.parametrize(
    ("activation", "said"),
    [
        (F.silu, r"SiLU \(3 times\)"),
        (F.gelu, r"GELU \(3 times\)"),
        (F.elu, "ELU"),
        (F.selu, "ELU"),
        (F.celu, "CELU"),
        (F.leaky_relu, "leaky ReLU"),
        (lambda x: F.prelu(x, torch.full((1,), 0.1, dtype=x.dtype)), "PReLU"),
        (F.hardswish, "hard swish"),
        (F.softplus, "softplus"),
        (F.mish, "Mish"),
        (F.logsigmoid, "log-sigmoid"),
        (F.hardshrink, "hard shrink"),
        (F.softshrink, "soft shrink"),
        (F.rrelu, "leaky ReLU|RReLU"),
        (lambda x: F.threshold(x, 0.1, 0.0), "threshold at 0.1"),
        (lambda x: x.clamp(min=0), r"clamp\(min=0\)"),
        (lambda x: x.clamp(0, 6), r"clamp\(min=0\)"),
        (lambda x: x.clamp_min(0), r"clamp\(min=0\)"),
        (lambda x: x.clamp(min=torch.zeros(1, dtype=x.dtype)), "maximum with a constant"),
        (lambda x: torch.maximum(x, torch.zeros(1, dtype=x.dtype)), "maximum with a constant"),
        (lambda x: torch.max(x, torch.zeros(1, dtype=x.dtype)), "maximum with a constant"),
        (lambda x: x * (x > 0), "a product with a mask"),
        (lambda x: (x > 0) * x, "a product with a mask"),
        (lambda x: x * (x > 0).to(x.dtype), "a product with a mask"),
        (lambda x: torch.where(x > 0, x, 0.0), "torch.where"),
        (lambda x: x.masked_fill(x < 0, 0), "masked_fill"),
    ],
)
def test_an_activation_without_a_rule_is_refused_by_name_and_its_gradient_is_given(activation, said):
    network = Small(activation)
    model = model_of(network)
    before = state(network)
    for rule in ("deconvnet", "guided"):
        with pytest.raises(UserError, match=said) as error:
            backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
        assert "use the gradient" in str(error.value)
        assert "\n" not in str(error.value)
    assert_untouched(network, before)
    assert backpropagate(model, images(), torch.zeros(5).long()).abs().max() > 0


def test_gates_keep_their_derivative_beside_relus():
    class Gated(Small):
        def forward(self, x: Tensor) -> Tensor:
            h = F.max_pool2d(F.relu(self.conv1(x)), 2)
            return self.dense((h * torch.sigmoid(self.conv2(h))).flatten(1))

    model = model_of(Gated())
    assert backpropagate(model, images(), torch.zeros(5).long(), rule="guided").abs().max() > 0


def test_scales_that_are_no_masks_are_not_taken_for_relus():
    class Scaled(Small):
        def forward(self, x: Tensor) -> Tensor:
            h = F.max_pool2d(F.relu(self.conv1(x)), 2)
            h = h * torch.ones(h.shape[1], 1, 1, dtype=h.dtype) * 0.5
            return self.dense(self.conv2(h).flatten(1))

    model = model_of(Scaled())
    assert backpropagate(model, images(), torch.zeros(5).long(), rule="guided").abs().max() > 0


def test_maxout_of_two_branches_is_not_taken_for_a_relu():
    class Maxout(Small):
        def forward(self, x: Tensor) -> Tensor:
            h = F.max_pool2d(F.relu(self.conv1(x)), 2)
            return self.dense(torch.maximum(self.conv2(h), self.conv3(h)).flatten(1))

    model = model_of(Maxout())
    assert backpropagate(model, images(), torch.zeros(5).long(), rule="guided").abs().max() > 0


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, signal):  # pyrefly: ignore[bad-override]
        return signal * (ctx.saved_tensors[0] > 0)


def test_a_backward_of_its_own_is_refused_for_it_may_hide_a_relu():
    model = model_of(Small(Hidden.apply))
    with pytest.raises(UserError, match="HiddenBackward, that may hide ReLUs"):
        backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    plain = backpropagate(model_of(Small()), images(), torch.zeros(5).long())
    torch.testing.assert_close(backpropagate(model, images(), torch.zeros(5).long()), plain)


class Energy(Small):
    """Its forward pass takes a gradient, whose own backward runs through more ReLU backwards than ReLUs."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            h = F.relu(self.conv1(x))
            (slope,) = torch.autograd.grad((h**2).sum(), x, create_graph=True)
        return self.dense(F.max_pool2d(h, 2).flatten(1)) + slope.sum((1, 2, 3))[:, None]


@pytest.mark.parametrize("rule", ["deconvnet", "guided"])
def test_a_picture_is_not_shown_where_relus_met_and_rules_applied_differ(rule):
    network = Energy()
    model = model_of(network)
    before = state(network)
    with pytest.raises(
        UserError,
        match=r"has \d ReLUs between its input and the target, but the \w+ rule was applied \d times",
    ):
        backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
    assert_untouched(network, before)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")
def test_reentrant_checkpointing_is_refused_with_the_way_out():
    network = Checkpointed()
    network.reentrant = True
    for rule in RULES:
        with pytest.raises(UserError, match="use_reentrant=False"):
            backpropagate(model_of(network), images(), torch.zeros(5).long(), rule=rule)


def test_a_network_that_fails_on_the_way_is_left_as_it_was():
    class Fails(Small):
        def forward(self, x: Tensor) -> Tensor:
            y = super().forward(x)
            if y.requires_grad:
                y.register_hook(lambda signal: 1 / 0)
            return y

    network = Fails()
    model = model_of(network)
    before = state(network)
    random = torch.get_rng_state()
    with pytest.raises(ZeroDivisionError):
        backpropagate(model, images(), torch.zeros(5).long(), rule="guided")
    with pytest.raises(ZeroDivisionError):
        backpropagate(model, images(), torch.zeros(5).long())
    assert_untouched(network, before)
    assert torch.equal(random, torch.get_rng_state())
    x = torch.tensor([1.0, -1.0], requires_grad=True)
    (plain,) = torch.autograd.grad(F.relu(x), x, torch.tensor([-1.0, 1.0]))
    assert plain.tolist() == [-1.0, 0.0]


def test_nan_in_the_answer_is_said():
    network = Small()
    network.dense.bias.data[1] = torch.nan
    with pytest.raises(UserError, match="small produces NaN or infinity for 2 of 5 images"):
        backpropagate(model_of(network), images(), torch.tensor([0, 1, 2, 1, 0]))


def test_what_does_not_exist_is_refused():
    model = model_of(Small())
    with pytest.raises(UserError, match="there is no class 3: small has 0 to 2"):
        backpropagate(model, images(), torch.tensor([0, 1, 3, 0, 0]))
    with pytest.raises(UserError, match="there is no channel 4: layer conv3 has 0 to 3"):
        backpropagate(model, images(), UnitTargets("conv3", torch.full((5,), 4)))
    with pytest.raises(UserError, match="name a channel, as in conv3:0"):
        backpropagate(model, images(), model.layers.parse("conv3"))
    with pytest.raises(UserError, match="rule must be one of gradient, deconvnet, guided, got 'giuded'"):
        backpropagate(model, images(), torch.zeros(5).long(), rule="giuded")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="5 images and 3 targets"):
        backpropagate(model, images(), torch.zeros(3).long())


def test_an_answer_that_does_not_depend_on_the_pixels_has_no_picture():
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), CLASSES, dtype=x.dtype)

    with pytest.raises(NoGradientError, match="gives no gradient with respect to the pixels"):
        backpropagate(model_of(Constant()), images(), torch.zeros(5).long())


def test_an_activation_that_is_there_once_is_named_with_once():
    answer = F.silu(torch.ones(2, 3, requires_grad=True)).sum()
    with pytest.raises(UserError, match=r"this network has SiLU \(once\): use the gradient"):
        count_relus(answer)
