"""ReLU rules are refused, by name and with a remedy, where an activation has none or might hide a ReLU."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from probe.errors import NoGradientError, UserError
from probe.methods.attribution.relu_rules import RULES, NoRelu, backpropagate, count_relus
from probe.model.targets import UnitTargets
from tests.methods.attribution.slow_relu_rules import (
    CLASSES,
    Checkpointed,
    Small,
    assert_untouched,
    images,
    model_of,
    state,
)


def test_without_relus_the_modified_rules_are_refused_because_they_equal_the_gradient():
    model = model_of(Small(torch.tanh))
    for rule in ("deconvnet", "guided"):
        with pytest.raises(
            NoRelu, match=r"no ReLU in small .*: deconvnet and guided backprop would equal the plain"
        ):
            backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
    assert backpropagate(model, images(), torch.zeros(5).long()).abs().max() > 0


@pytest.mark.parametrize(
    ("activation", "name"),
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
def test_an_activation_without_a_rule_is_refused_by_name_and_its_gradient_is_given(activation, name):
    network = Small(activation)
    model = model_of(network)
    before = state(network)
    for rule in ("deconvnet", "guided"):
        with pytest.raises(UserError, match=name) as error:
            backpropagate(model, images(), torch.zeros(5).long(), rule=rule)
        assert "use the gradient" in str(error.value)
        assert "\n" not in str(error.value)
    assert_untouched(network, before)
    assert backpropagate(model, images(), torch.zeros(5).long()).abs().max() > 0


class OneRelu(Small):
    """A ReLU behind the first convolution, and `rest`, in which there is none."""

    def forward(self, x: Tensor) -> Tensor:
        return self.rest(F.max_pool2d(F.relu(self.conv1(x)), 2))

    def rest(self, h: Tensor) -> Tensor:
        raise NotImplementedError


def guided_by_hand(network: OneRelu, pixels: Tensor, classes: Tensor) -> Tensor:
    """Plain gradients up to the ReLU and before it, and at the ReLU what is positive both ways."""
    leaf = pixels.clone().requires_grad_(True)
    before = network.conv1((leaf - 0.5) / 0.25)
    behind = before.detach().relu().requires_grad_(True)
    score = network.rest(F.max_pool2d(behind, 2)).gather(1, classes[:, None]).sum()
    (signal,) = torch.autograd.grad(score, behind)
    return torch.autograd.grad(before, leaf, signal.clamp(min=0) * (before.detach() > 0))[0]


class Gated(OneRelu):
    def rest(self, h: Tensor) -> Tensor:
        return self.dense((h * torch.sigmoid(self.conv2(h))).flatten(1))


class Scaled(OneRelu):
    def rest(self, h: Tensor) -> Tensor:
        h = h * torch.ones(h.shape[1], 1, 1, dtype=h.dtype) * 0.5
        return self.dense(self.conv2(h).flatten(1))


class Maxout(OneRelu):
    def rest(self, h: Tensor) -> Tensor:
        return self.dense(torch.maximum(self.conv2(h), self.conv3(h)).flatten(1))


@pytest.mark.parametrize("kind", [Gated, Scaled, Maxout])
def test_gates_scales_and_maxout_beside_a_relu_keep_their_derivative(kind: type[OneRelu]) -> None:
    network = kind()
    model = model_of(network)
    classes = torch.arange(5) % CLASSES
    picture = backpropagate(model, images(), classes, rule="guided")
    expected = guided_by_hand(network, images(), classes)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(picture, expected, rtol=0, atol=1e-12)


class Hidden(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, signal):  # pyrefly: ignore[bad-override]
        return signal * (ctx.saved_tensors[0] > 0)


def test_a_custom_autograd_function_is_refused_because_it_may_hide_a_relu():
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
def test_a_rule_that_is_not_applied_to_every_relu_is_an_error(rule):
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
def test_reentrant_checkpointing_is_refused_and_the_message_names_the_remedy():
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


def test_logits_that_are_not_finite_are_counted_and_refused():
    network = Small()
    network.dense.bias.data[1] = torch.nan
    with pytest.raises(UserError, match="small produces NaN or infinity for 2 of 5 images"):
        backpropagate(model_of(network), images(), torch.tensor([0, 1, 2, 1, 0]))


def test_targets_and_rules_that_do_not_exist_are_refused():
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


def test_an_output_that_does_not_depend_on_the_pixels_has_no_attribution():
    class Constant(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.ones(len(x), CLASSES, dtype=x.dtype)

    with pytest.raises(NoGradientError, match="has no gradient with respect to the pixels"):
        backpropagate(model_of(Constant()), images(), torch.zeros(5).long())


def test_an_activation_that_is_called_once_is_reported_as_once():
    output = F.silu(torch.ones(2, 3, requires_grad=True)).sum()
    with pytest.raises(UserError, match=r"this network has SiLU \(once\): use the gradient"):
        count_relus(output)
