"""Tests of the optimisation loop: closed forms, independence of the images, and no trace on the network."""

from collections.abc import Callable, Iterable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn

from probe.methods.synthesis.matching import FeatureMatch
from probe.methods.synthesis.objectives import (
    LOGITS,
    PIXELS,
    Activations,
    Channel,
    LayerEnergy,
    Logit,
    Objective,
)
from probe.methods.synthesis.optimise import Optimised, Problem, Schedule, Start, activations, optimise
from probe.methods.synthesis.parametrisation import Fourier, Pixels
from probe.methods.synthesis.regularisers import TotalVariation
from probe.methods.synthesis.steps import LBFGS, Adam, NormalisedGradient
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


def test_the_image_that_maximises_a_linear_class_is_white_where_its_weights_are_positive():
    model = linear()
    result = optimise(
        model, Logit(torch.arange(3)), Pixels(model.shape), Schedule(60), start=[1, 2, 3], step=Adam(lr=0.05)
    )
    assert torch.equal(result.pixels, (templates(model) > 0).float())


def test_on_an_l2_ball_a_linear_class_is_raised_most_along_its_weights():
    model = linear()
    parametrisation = Pixels(model.shape)
    start = torch.stack(
        [parametrisation.initialise(torch.Generator().manual_seed(seed)) for seed in (1, 2, 3)]
    )

    def along(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        return 0.02 * gradient / gradient.flatten(1).norm(dim=1)[:, None, None, None]

    result = optimise(
        model, Logit(torch.arange(3)), parametrisation, Schedule(10), start=[1, 2, 3], step=along
    )
    change, weights = (result.pixels - start).flatten(1), templates(model).flatten(1)
    torch.testing.assert_close(change, 0.2 * weights / weights.norm(dim=1, keepdim=True), rtol=0, atol=1e-6)
    gain = result.values - model.logits(start).diagonal()
    torch.testing.assert_close(gain, 0.2 * weights.norm(dim=1) / 0.5, rtol=1e-4, atol=0)


OBJECTIVES = {
    "logit": lambda rows: Logit(torch.arange(4)[rows]),
    "channel": lambda rows: Channel("4", torch.tensor([3, 0, 7, 11])[rows]),
}


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_a_batch_is_what_each_image_alone_would_be(convnet: Model, kind: str):
    model = convnet.double()
    parametrisation = Fourier(model.shape, covariance=torch.eye(3, dtype=torch.float64))
    seeds = [7, 8, 9, 10]

    def run(rows: list[int]) -> Tensor:
        objective = OBJECTIVES[kind](torch.tensor(rows))
        schedule = Schedule(15, RandomAffine.for_side(32))
        return optimise(
            model, objective, parametrisation, schedule, start=[seeds[row] for row in rows]
        ).pixels

    together = run([0, 1, 2, 3])
    for row in range(4):
        torch.testing.assert_close(together[row], run([row])[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(together.flip(0), run([3, 2, 1, 0]), rtol=0, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 0.01


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_image(convnet: Model):
    def run(seed: int) -> Tensor:
        parametrisation = Fourier(convnet.shape)
        schedule = Schedule(5, RandomAffine.for_side(32))
        return optimise(convnet, Logit(torch.tensor([2])), parametrisation, schedule, start=[seed]).pixels

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
    def fails(x: Tensor) -> Tensor:
        raise AssertionError("ran too far")

    assert "4" in convnet.layers  # the survey runs all layers, once
    monkeypatch.setattr(convnet.network[9], "forward", fails)  # type: ignore[index]
    activations(convnet, torch.rand(1, 3, 32, 32), ["4"])
    with pytest.raises(AssertionError, match="ran too far"):
        activations(convnet, torch.rand(1, 3, 32, 32), [LOGITS])


class Broken(Objective):
    layers = frozenset({"2", LOGITS})

    def value(self, activations: Activations) -> Tensor:
        raise RuntimeError("on purpose")


@pytest.mark.parametrize(
    "objective", [Logit(torch.tensor([0, 1])), Channel("4", torch.tensor([0, 1])), Broken()]
)
def test_nothing_is_left_on_the_network(convnet: Model, objective: Objective):
    before = torch.get_rng_state()
    context = (
        pytest.raises(RuntimeError, match="on purpose") if isinstance(objective, Broken) else nullcontext()
    )
    with context:
        optimise(convnet, objective, Fourier(convnet.shape), Schedule(2, RandomAffine()), start=[0, 1])
    for module in convnet.network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        assert not module.training
    assert all(p.grad is None and not p.requires_grad for p in convnet.network.parameters())
    assert torch.equal(torch.get_rng_state(), before)


def test_it_works_inside_inference_mode_too(convnet: Model):
    objective, parametrisation = Logit(torch.tensor([0])), Fourier(convnet.shape)
    with torch.inference_mode():
        result = optimise(convnet, objective, parametrisation, Schedule(3), start=[0])
    assert result.history[-1] > result.history[0]


def rectified(bias: float) -> Model:
    """One filter for a difference to the right, off on images with less contrast than -bias."""
    convolution = nn.Conv2d(1, 2, (1, 2))
    convolution.weight.data = torch.tensor([[[[-1.0, 1.0]]], [[[1.0, 1.0]]]])
    convolution.bias = nn.Parameter(torch.tensor([bias, 3.0]))
    network = nn.Sequential(convolution, nn.ReLU(), nn.Flatten(), nn.Linear(2 * 8 * 7, 2))
    return model_of(network, (1, 8, 8), 2)


def test_a_start_behind_a_relu_that_is_off_is_drawn_again_with_more_contrast():
    model = rectified(-0.3)
    faint = Fourier(model.shape).initialise(torch.Generator().manual_seed(5))
    assert model.features(Fourier(model.shape).to_pixels(faint[None]), "1")["1"][0, 0].max() == 0
    result = optimise(
        model, Channel("1", torch.tensor([0, 1])), Fourier(model.shape), Schedule(30), start=[5, 6]
    )
    assert not result.dead.any()
    assert result.values[0] > 0.05
    alone = optimise(model, Channel("1", torch.tensor([1])), Fourier(model.shape), Schedule(30), start=[6])
    torch.testing.assert_close(result.pixels[1], alone.pixels[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("smoothness", [0.0, 1.0])
def test_a_unit_that_no_start_activates_is_reported_dead_and_the_others_are_not(smoothness: float):
    objective = Channel("1", torch.tensor([0, 1])) + smoothness * TotalVariation()
    model = rectified(-50.0)
    result = optimise(model, objective, Fourier((1, 8, 8)), Schedule(3), start=[5, 6])
    assert result.dead.tolist() == [True, False]
    assert model.features(result.pixels, "1")["1"][0, 0].max() == 0


def test_progress_wraps_every_step(convnet: Model):
    seen: list[int] = []

    def recorded(steps: Iterable[int]) -> Iterable[int]:
        for step in steps:
            seen.append(step)
            yield step

    objective = Logit(torch.tensor([0]))
    optimise(convnet, objective, Fourier(convnet.shape), Schedule(4), start=[0], progress=recorded)
    assert seen == [0, 1, 2, 3]


def test_given_variables_are_where_it_starts_and_the_step_rule_is_told_where_it_is():
    model, start = linear(), torch.rand(3, 2, 5, 6, generator=torch.Generator().manual_seed(1))
    at: list[Tensor] = []

    def step(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        at.append(variables.clone())
        return 0.01 * gradient.sign()

    result = optimise(
        model, Logit(torch.arange(3)), Pixels(model.shape), Schedule(2), start=Start(start), step=step
    )
    assert torch.equal(at[0], start)
    expected = (start + 0.02 * templates(model).sign()).clamp(0, 1)
    torch.testing.assert_close(result.pixels, expected, rtol=0, atol=1e-6)
    assert not result.dead.any()
    with pytest.raises(ValueError, match="pass one seed per image"):
        optimise(
            model,
            Logit(torch.arange(3)),
            Pixels(model.shape),
            Schedule(2, RandomAffine()),
            start=Start(start),
        )


def test_an_image_that_reached_the_target_is_left_and_the_loop_ends_when_all_have():
    model, start = linear(), torch.full((3, 2, 5, 6), 0.5)
    scores = model.logits(start).diagonal()
    slope = templates(model).flatten(1).abs().sum(1) / 0.5

    def step(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        return 0.001 * gradient.sign()

    target = float((scores + 0.0105 * slope).min())
    schedule = Schedule(400, target=target)
    result = optimise(
        model, Logit(torch.arange(3)), Pixels(model.shape), schedule, start=Start(start), step=step
    )
    needed = ((target - scores) / (0.001 * slope)).ceil().clamp(min=0)
    assert 10 <= len(result.history) - 1 == int(needed.max())
    torch.testing.assert_close(
        (result.pixels - start).flatten(1).abs().amax(1), 0.001 * needed, rtol=0, atol=1e-5
    )
    assert (result.values >= target).all()


def from_start(model: Model, schedule: Schedule, step: object, objective: Objective) -> Optimised:
    start = torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(1))
    return optimise(model, objective, Pixels(model.shape), schedule, start=Start(start, [1, 2]), step=step)  # type: ignore[arg-type]


class Explosive(Objective):
    """NaN for the first image as soon as one of its pixels is white."""

    layers = frozenset({PIXELS})

    def value(self, activations: Activations) -> Tensor:
        pixels = activations[PIXELS].flatten(1)
        hot = torch.tensor([[1.0], [0.0]]) * (pixels >= 1).any(1, keepdim=True)
        return (pixels + (hot * pixels - hot * pixels) / (1 - hot)).sum(1)


def test_an_image_that_becomes_nan_is_left_at_its_last_finite_pixels_and_the_others_go_on(convnet: Model):
    rates: list[float] = []

    def step(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        rates.append(float(variables[0].max()))
        return torch.full_like(gradient, 0.1).nan_to_num()

    result = from_start(convnet, Schedule(30), step, Explosive())
    assert result.diverged.tolist() == [True, False]
    assert torch.isfinite(result.pixels).all()
    assert torch.isfinite(result.values).all()
    assert 0.5 < float(result.pixels[0].max()) < 1
    assert float(result.pixels[1].min()) == 1


def test_the_best_image_is_kept_where_that_is_asked_for(convnet: Model):
    def away(gradient: Tensor, variables: Tensor, values: Tensor) -> Tensor:
        return -0.1 * gradient.sign()

    objective = Logit(torch.tensor([3, 4]))
    best = from_start(convnet, Schedule(4, keep_best=True), away, objective)
    last = from_start(convnet, Schedule(4), away, objective)
    torch.testing.assert_close(best.values, best.history[0])
    assert (last.values < best.values).all()


def test_an_iteration_that_ends_early_leaves_what_there_is(convnet: Model):
    def three(steps: Iterable[int]) -> Iterable[int]:
        return (step for step in steps if step < 3)

    objective, parametrisation = Logit(torch.tensor([0])), Fourier(convnet.shape)
    cut = optimise(convnet, objective, parametrisation, Schedule(50), start=[0], progress=three)
    short = optimise(convnet, objective, parametrisation, Schedule(3), start=[0])
    assert torch.equal(cut.pixels, short.pixels)


def test_frames_show_the_images_before_each_step(convnet: Model):
    frames: list[Tensor] = []

    def frame(index: int, pixels: Callable[[], Tensor]) -> None:
        if index % 2 == 0:
            frames.append(pixels())

    objective, parametrisation = Logit(torch.tensor([0])), Fourier(convnet.shape)
    optimise(convnet, objective, parametrisation, Schedule(5, frame=frame), start=[0])
    assert len(frames) == 3
    first = parametrisation.initialise(torch.Generator().manual_seed(0))[None]
    torch.testing.assert_close(frames[0], parametrisation.to_pixels(first))


def test_several_transforms_of_an_image_are_averaged():
    """On a linear network without transforms at the border, the mean of crops is the gradient of the mean."""
    model = linear()
    problem = Problem(model, Logit(torch.tensor([1])), Pixels(model.shape))
    variables = torch.rand(1, 2, 5, 6, generator=torch.Generator().manual_seed(0))
    flip = lambda pixels: pixels.flip(3)  # noqa: E731
    values, gradient = problem.gradient(variables, [lambda pixels: pixels, flip])
    weights = templates(model)[1] / 0.5
    torch.testing.assert_close(gradient[0], (weights + weights.flip(2)) / 2)
    torch.testing.assert_close(
        values, (model.logits(variables) + model.logits(variables.flip(3)))[:, 1] / 2, rtol=0, atol=1e-5
    )


def test_tiles_give_the_gradient_of_the_whole_where_nothing_reaches_across():
    """A convolution whose kernel is its stride: tiles along its grid see all that it sees."""
    network = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Flatten(), nn.Linear(4 * 4 * 4, 2))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_of(network, (3, 16, 16), 2)
    variables = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    whole, parts = (Problem(model, LayerEnergy("0"), Pixels(model.shape), tile) for tile in (None, 8))
    for expected, tiled in zip(whole.gradient(variables), parts.gradient(variables), strict=True):
        torch.testing.assert_close(tiled, expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(parts.evaluate(variables)[1], whole.evaluate(variables)[1])


@pytest.mark.parametrize("kind", ["lbfgs", "normalised", "adam"])
def test_fifty_steps_of_a_batch_are_those_of_each_image_alone(convnet: Model, kind: str):
    """The first gradient to 1e-5, the images after 50 steps in float64 to 1e-5."""
    model = convnet.double()
    steps = {
        "lbfgs": lambda: LBFGS(bounds=(0, 1)),
        "normalised": lambda: NormalisedGradient(0.01),
        "adam": lambda: Adam(0.02),
    }
    start = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    target = model.features(start.flip(0), "4")["4"]
    classes = torch.tensor([1, 5, 7])

    def objective(rows: slice) -> Objective:
        return Logit(classes[rows]) + 5 * FeatureMatch("4", target[rows]) + 10 * TotalVariation()

    def run(rows: slice) -> Tensor:
        return optimise(
            model,
            objective(rows),
            Pixels(model.shape),
            Schedule(50),
            start=Start(start[rows]),
            step=steps[kind](),
        ).pixels

    together = run(slice(0, 3))
    for row in range(3):
        torch.testing.assert_close(together[row], run(slice(row, row + 1))[0], rtol=0, atol=1e-5)
    pixels = start.float()
    single = Problem(convnet, Logit(classes[1:2]), Pixels(convnet.shape)).gradient(pixels[1:2])[1][0]
    batched = Problem(convnet, Logit(classes), Pixels(convnet.shape)).gradient(pixels)[1][1]
    torch.testing.assert_close(batched, single, rtol=1e-5, atol=1e-5 * float(single.abs().max()))
