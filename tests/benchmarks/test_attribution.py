"""Attribution is no slower than captum, and than one call per unit, in the same run."""

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from probe.methods.attribution.gradients import IntegratedGradients, SmoothGrad
from probe.methods.attribution.occlusion import Occlusion
from probe.methods.attribution.relu_rules import RULES, backpropagate
from probe.model.cards import Card, Input
from probe.model.model import Model
from probe.model.targets import UnitTargets
from probe.zoo import architecture, build

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]


@pytest.fixture
def one_thread():
    """The ratios to captum are of work, not of how many cores happen to be free."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def model_of(name: str) -> Model:
    shape = architecture(name).shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(name)
    channels = (0.5,) * shape[0]
    card = Card(
        name=name,
        architecture=f"zoo:{name}",
        classes=tuple(str(i) for i in range(10)),
        input=Input(shape=(shape[0], shape[1], shape[2]), mean=channels, std=channels, preprocess=""),
    )
    return Model(network, card)


def images(model: Model, n: int) -> Tensor:
    return torch.rand(n, *model.shape, generator=torch.Generator().manual_seed(0))


def seconds(
    *calls: Callable[[], object], times: int = 5, clock: Callable[[], float] = time.process_time
) -> list[float]:
    """The least time of each call; they take turns, so that a busy machine is busy for all."""
    best = [float("inf")] * len(calls)
    for turn in range(times + 1):
        for i, call in enumerate(calls):
            start = clock()
            call()
            if turn:  # the first warms up
                best[i] = min(best[i], clock() - start)
    return best


@pytest.mark.usefixtures("one_thread")
def test_occlusion_is_five_times_faster_than_captums_default_call_and_equal() -> None:
    from captum import attr

    model = model_of("lenet5-relu")
    pixels, classes = images(model, 1), torch.tensor([3])
    theirs = attr.Occlusion(model.logits)

    def default() -> Tensor:
        with torch.no_grad():
            return theirs.attribute(
                pixels, sliding_window_shapes=(1, 8, 8), strides=(1, 2, 2), baselines=0.5, target=classes
            )

    def ours() -> Tensor:
        return Occlusion(window=8, stride=2, fill=0.5)(model, pixels, classes)

    torch.testing.assert_close(ours(), default()[:, 0], rtol=0, atol=1e-5)
    slow, fast = seconds(default, ours)
    print(
        f"occlusion, 169 windows: captum {1000 * slow:.1f} ms, probe {1000 * fast:.1f} ms, {slow / fast:.1f} x"
    )
    assert slow / fast >= 5


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["lenet5-relu", "resnet20"])
def test_integrated_gradients_are_no_slower_than_captum_at_its_best_batch(name: str) -> None:
    from captum import attr

    model = model_of(name)
    pixels, classes = images(model, 4), torch.tensor([0, 1, 2, 3])
    theirs = attr.IntegratedGradients(model.logits)

    def captum(batch: int) -> Callable[[], Tensor]:
        leaf = pixels.clone().requires_grad_()
        return lambda: theirs.attribute(
            leaf, baselines=0.0, target=classes, n_steps=32, internal_batch_size=batch
        )

    def ours() -> Tensor:
        return IntegratedGradients(steps=32)(model, pixels, classes)

    wanted = captum(32)().detach()
    torch.testing.assert_close(ours(), wanted, rtol=0, atol=2e-3 * float(wanted.abs().max()))
    *slow, fast = seconds(*(captum(batch) for batch in (8, 16, 32, 64, 128)), ours, times=6)
    print(f"integrated gradients, {name}: captum {1000 * min(slow):.0f} ms, probe {1000 * fast:.0f} ms")
    assert fast <= 1.1 * min(slow)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", ["lenet5-relu", "resnet20"])
def test_smoothgrad_is_no_slower_than_captum_at_its_best_batch(name: str) -> None:
    from captum.attr import NoiseTunnel, Saliency

    model = model_of(name)
    pixels, classes = images(model, 4), torch.tensor([0, 1, 2, 3])
    theirs = NoiseTunnel(Saliency(model.logits))

    def captum(batch: int) -> Callable[[], object]:
        leaf = pixels.clone().requires_grad_()
        return lambda: theirs.attribute(
            leaf, nt_samples=32, nt_samples_batch_size=batch, stdevs=0.15, target=classes, abs=False
        )

    def ours() -> Tensor:
        return SmoothGrad(samples=32, noise=0.15)(model, pixels, classes, seed=0)

    *slow, fast = seconds(*(captum(batch) for batch in (2, 4, 8, 16, 32)), ours, times=6)
    print(f"SmoothGrad, {name}: captum {1000 * min(slow):.0f} ms, probe {1000 * fast:.0f} ms")
    assert fast <= 1.1 * min(slow)


@pytest.mark.parametrize("rule", RULES)
def test_sixty_four_units_in_one_backward_pass_are_ten_times_faster_than_in_as_many(rule) -> None:
    model = model_of("lenet5-relu")
    one = images(model, 1)
    rng = torch.Generator().manual_seed(1)
    units = UnitTargets(
        "act2", torch.randint(16, (64,), generator=rng), torch.randint(10, (64, 2), generator=rng)
    )
    rows = torch.arange(64).split(1)

    def together() -> Tensor:
        return backpropagate(model, one, units, rule=rule)

    def apart() -> Tensor:
        return torch.cat([backpropagate(model, one, units[row], rule=rule) for row in rows])

    torch.testing.assert_close(together(), apart(), rtol=1e-4, atol=1e-6)
    slow, fast = seconds(apart, together, times=8, clock=time.perf_counter)
    print(f"64 units, {rule}: apart {1000 * slow:.0f} ms, together {1000 * fast:.1f} ms, {slow / fast:.0f} x")
    assert slow / fast >= 10


@pytest.mark.usefixtures("one_thread")
def test_sixty_four_units_of_a_residual_network_cost_no_more_than_the_gradients_of_as_many_images() -> None:
    """There the arithmetic of 64 passes is most of the time, alone or together: the ratio to single calls is 3 to 6."""
    model = model_of("resnet20")
    one, many = images(model, 1), images(model, 64)
    rng = torch.Generator().manual_seed(1)
    units = UnitTargets(
        "layer3.2", torch.randint(64, (64,), generator=rng), torch.randint(8, (64, 2), generator=rng)
    )
    whole = UnitTargets("layer3.2", units.channels)
    rows = torch.arange(64).split(1)
    slow, fast, arithmetic = seconds(
        lambda: [backpropagate(model, one, units[row], rule="guided") for row in rows],
        lambda: backpropagate(model, one, units, rule="guided"),
        lambda: backpropagate(model, many, whole, rule="gradient"),
        times=3,
    )
    print(
        f"64 units, resnet20: apart {1000 * slow:.0f} ms, together {1000 * fast:.0f} ms, {slow / fast:.1f} x"
    )
    assert slow / fast >= 2
    assert fast <= 1.4 * arithmetic
