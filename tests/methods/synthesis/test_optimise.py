"""Does the loop climb where it should, each image by itself, and leave nothing behind?"""

from collections.abc import Iterable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from probe.methods.synthesis.objectives import LOGITS, Channel, Logit, Objective, Seen, Unit
from probe.methods.synthesis.optimise import Adam, activations, ascend
from probe.methods.synthesis.parametrisation import Fourier, Pixels
from probe.methods.synthesis.transforms import RandomAffine
from probe.model.model import Model
from tests.conftest import model_of


def linear(seed: int = 0) -> Model:
    network = nn.Sequential(nn.Flatten(), nn.Linear(2 * 5 * 6, 3))
    draw = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.data.normal_(generator=draw)
    return model_of(network, (2, 5, 6), 3)


def templates(model: Model) -> Tensor:
    return model.network[1].weight.reshape(3, 2, 5, 6)  # type: ignore[index]


def test_a_linear_classs_maximiser_in_the_box_is_white_where_its_weights_are_positive():
    model = linear()
    found = ascend(
        model, Logit(torch.arange(3)), Pixels(model.shape), seeds=[1, 2, 3], steps=60, step=Adam(0.05)
    )
    assert torch.equal(found.pixels, (templates(model) > 0).float())


def test_on_an_l2_ball_a_linear_class_is_raised_most_along_its_weights():
    model = linear()
    canvas = Pixels(model.shape)
    start = torch.stack([canvas.start(torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)])

    def along(gradient: Tensor) -> Tensor:
        return 0.02 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]

    found = ascend(model, Logit(torch.arange(3)), canvas, seeds=[1, 2, 3], steps=10, step=along)
    change, weights = (found.pixels - start).flatten(1), templates(model).flatten(1)
    torch.testing.assert_close(change, 0.2 * weights / weights.norm(dim=1, keepdim=True), rtol=0, atol=1e-6)
    gain = found.values - model.logits(start).diagonal()
    torch.testing.assert_close(gain, 0.2 * weights.norm(dim=1) / 0.5, rtol=1e-4, atol=0)


OBJECTIVES = {
    "logit": lambda rows: Logit(torch.arange(4)[rows]),
    "channel": lambda rows: Channel("4", torch.tensor([3, 0, 7, 11])[rows]),
    "unit": lambda rows: Unit(
        "1",
        torch.tensor([3, 0, 7, 1])[rows],
        torch.tensor([2, 9, 30, 0])[rows],
        torch.tensor([5, 0, 8, 31])[rows],
    ),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_batch_of_units_is_what_each_alone_would_be(convnet: Model, kind: str):
    model = convnet.double()
    canvas = Fourier(model.shape, covariance=torch.eye(3, dtype=torch.float64))
    seeds = [7, 8, 9, 10]

    def run(rows: list[int]) -> Tensor:
        objective = OBJECTIVES[kind](torch.tensor(rows))
        found = ascend(
            model,
            objective,
            canvas,
            seeds=[seeds[row] for row in rows],
            steps=15,
            jitter=RandomAffine.sized(32),
        )
        return found.pixels

    together = run([0, 1, 2, 3])
    for row in range(4):
        torch.testing.assert_close(together[row], run([row])[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(together.flip(0), run([3, 2, 1, 0]), rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_another_image(convnet: Model):
    def run(seed: int) -> Tensor:
        canvas = Fourier(convnet.shape)
        return ascend(
            convnet, Logit(torch.tensor([2])), canvas, seeds=[seed], steps=5, jitter=RandomAffine.sized(32)
        ).pixels

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_stopping_at_the_layer_gives_the_gradient_of_the_whole_pass(convnet: Model):
    pixels = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0)).requires_grad_(True)
    objective = Channel("4", torch.tensor([1, 5, 9]))
    gradients = [
        torch.autograd.grad(objective.value(activations(convnet, pixels, layers)).sum(), pixels)[0]
        for layers in (["4"], ["4", LOGITS])
    ]
    assert torch.equal(*gradients)
    assert gradients[0].abs().max() > 0


def test_what_comes_after_the_layer_is_not_run(convnet: Model, monkeypatch: pytest.MonkeyPatch):
    def never(x: Tensor) -> Tensor:
        raise AssertionError("ran too far")

    assert "4" in convnet.layers  # the survey runs all layers, once
    monkeypatch.setattr(convnet.network[9], "forward", never)  # type: ignore[index]
    activations(convnet, torch.rand(1, 3, 32, 32), ["4"])
    with pytest.raises(AssertionError, match="ran too far"):
        activations(convnet, torch.rand(1, 3, 32, 32), [LOGITS])


class Broken(Objective):
    layers = frozenset({"2", LOGITS})

    def value(self, seen: Seen) -> Tensor:
        raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "objective", [Logit(torch.tensor([0, 1])), Channel("4", torch.tensor([0, 1])), Broken()]
)
def test_nothing_is_left_on_the_network(convnet: Model, objective: Objective):
    before = torch.get_rng_state()
    fails = (
        pytest.raises(RuntimeError, match="on purpose") if isinstance(objective, Broken) else nullcontext()
    )
    with fails:
        ascend(convnet, objective, Fourier(convnet.shape), seeds=[0, 1], steps=2, jitter=RandomAffine())
    for module in convnet.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module.training
    assert all(p.grad is None and not p.requires_grad for p in convnet.network.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_it_works_inside_inference_mode_too(convnet: Model):
    objective, canvas = Logit(torch.tensor([0])), Fourier(convnet.shape)
    with torch.inference_mode():
        found = ascend(convnet, objective, canvas, seeds=[0], steps=3)
    assert found.history[-1] > found.history[0]


def rectified(bias: float) -> Model:
    """One filter that sees a difference to the right, silent on pictures with less contrast than -bias."""
    convolution = nn.Conv2d(1, 2, (1, 2))
    convolution.weight.data = torch.tensor([[[[-1.0, 1.0]]], [[[1.0, 1.0]]]])
    convolution.bias = nn.Parameter(torch.tensor([bias, 3.0]))
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(2 * 8 * 7, 2))
    return model_of(network, (1, 8, 8), 2)


def test_a_start_behind_a_relu_that_is_off_is_drawn_again_until_it_answers():
    model = rectified(-0.3)
    faint = Fourier(model.shape).start(torch.Generator().manual_seed(5))
    assert model.features(Fourier(model.shape).paint(faint[None]), "1")["1"][0, 0].max() == 0
    found = ascend(model, Channel("1", torch.tensor([0, 1])), Fourier(model.shape), seeds=[5, 6], steps=30)
    assert not found.dead.any()
    assert found.values[0] > 0.05
    alone = ascend(model, Channel("1", torch.tensor([1])), Fourier(model.shape), seeds=[6], steps=30)
    torch.testing.assert_close(found.pixels[1], alone.pixels[0], rtol=0, atol=1e-5)


def test_a_unit_that_nothing_wakes_is_said_to_be_dead_and_the_others_are_not():
    found = ascend(
        rectified(-50.0), Channel("1", torch.tensor([0, 1])), Fourier((1, 8, 8)), seeds=[5, 6], steps=3
    )
    assert found.dead.tolist() == [True, False]
    assert found.values[0] == 0


def test_adam_takes_the_steps_of_torchs():
    draw = torch.Generator().manual_seed(0)
    ours, theirs = torch.zeros(4, 5), torch.zeros(4, 5, requires_grad=True)
    step, reference = Adam(0.1), torch.optim.Adam([theirs], lr=0.1)
    for _ in range(7):
        gradient = torch.randn(4, 5, generator=draw)
        ours = ours + step(gradient)
        theirs.grad = -gradient
        reference.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_progress_goes_round_every_step(convnet: Model):
    seen: list[int] = []

    def watched(steps: Iterable[int]) -> Iterable[int]:
        for step in steps:
            seen.append(step)
            yield step

    ascend(convnet, Logit(torch.tensor([0])), Fourier(convnet.shape), seeds=[0], steps=4, progress=watched)
    assert seen == [0, 1, 2, 3]
