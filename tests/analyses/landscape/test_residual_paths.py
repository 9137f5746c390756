"""residual-paths on a small residual network and its plain counterpart."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart
from probe.model.model import Model
from probe.runs.execute import run
from probe.zoo import build
from tests.conftest import model_of


@pytest.fixture
def nets() -> tuple[Model, Model]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pair = [build(name) for name in ("resnet20", "plain20")]
    return model_of(pair[0], (3, 32, 32), 10, "with"), model_of(pair[1], (3, 32, 32), 10, "without")


QUICK = {"max_images": 20, "path_images": 2, "samples": 1, "draws": 2, "most_deleted": 2}


def test_the_lengths_are_binomial_and_the_errors_those_of_the_lesioned_networks(
    nets: tuple[Model, Model], noise_images: Images
) -> None:
    model, plain = nets
    result = run("residual-paths", model, noise_images, compare_to=[plain], **QUICK)
    charts = {e.title: e for e in result.exhibits if isinstance(e, Chart)}
    paths, gradient = charts["Paths by length"].lines
    assert paths.y[:3] * 2**9 == pytest.approx([1, 9, 36])
    assert gradient.y.sum() == pytest.approx(1, abs=1e-5)
    assert [line.name for line in charts["One block deleted"].lines] == ["with", "with, whole", "without"]
    (other,) = charts["One block deleted"].lines[2:]
    assert other.x.tolist() == [0, 1, 2, 4, 5, 7, 8], "blocks that change the shape cannot be deleted"
    assert "Blocks in another order" in charts
    chosen = noise_images.take(20, seed=_seed())
    wrong = model.logits(chosen.pixels()).argmax(1) != chosen.labels
    assert result.numbers["error"].value == pytest.approx(float(wrong.float().mean()))


def _seed() -> int:
    from probe.runs.job import RunJob

    return RunJob(0).seed()


def test_a_network_without_residual_blocks_is_refused_in_one_line(
    nets: tuple[Model, Model], noise_images: Images
) -> None:
    with pytest.raises(UserError, match="without: the network has no residual blocks"):
        run("residual-paths", nets[1], noise_images)


def test_a_compared_network_without_such_modules_gives_a_warning(
    nets: tuple[Model, Model], noise_images: Images
) -> None:
    other = model_of(nn.Sequential(nn.Flatten(), nn.Linear(3072, 10)), (3, 32, 32), 10, "flat")
    other.card.model_copy()
    result = run("residual-paths", nets[0], noise_images, compare_to=[other], **QUICK)
    assert any("nothing was deleted" in warning for warning in result.warnings)
    assert np.isfinite([number.value for number in result.numbers.values()]).all()
