"""surface: exact and fast agree, chunks resume to the same bytes, several models on one scale, bad input."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.landscape import surface_grid
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Surface
from probe.exhibits.result import Result
from probe.exhibits.storage import save
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare, run
from probe.runs.job import RunJob
from probe.runs.store import ChunkStore
from tests.conftest import model_of


@pytest.fixture
def small() -> Model:
    """Two convolutions with batch norm and a dense layer, fitted to nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = nn.Sequential(
            nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 6, 3, stride=2),
            nn.BatchNorm2d(6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10),
        )  # fmt: skip
    return model_of(network, (3, 32, 32), 10, "small")


def surface_of(result: Result) -> Surface:
    (surface,) = [e for e in result.exhibits if isinstance(e, Surface) and e.title.startswith("Loss")]
    return surface


def test_the_centre_is_the_networks_own_loss(small: Model, noise_images: Images) -> None:
    result = run("surface", small, noise_images, x="-1:1:5", y="-0.5:0.5:3", mode="exact")
    logits = small.logits(noise_images.pixels())
    expected = float(nn.functional.cross_entropy(logits, noise_images.labels))
    assert result.numbers["loss"].value == pytest.approx(expected, rel=1e-6)
    surface = surface_of(result)
    assert surface.z.shape == (3, 5)
    assert surface.z[1, 2] == pytest.approx(expected, rel=1e-6)


def test_fast_is_exact_to_the_stated_error(small: Model, noise_images: Images) -> None:
    ranges = {"x": "-1:1:21", "y": "-1:1:17", "seed": 3}
    fast, exact = (run("surface", small, noise_images, mode=mode, **ranges) for mode in ("fast", "exact"))
    a, b = surface_of(fast).z, surface_of(exact).z
    stated = fast.numbers["stated_error"].value + fast.numbers["precision_error"].value
    assert fast.numbers["computed_fraction"].value < 0.9
    assert (np.abs(a / b - 1) <= stated + 1e-6).mean() >= 0.95
    assert np.abs(a / b - 1).max() < 0.03


def test_a_line_is_drawn_with_its_intervals(small: Model, noise_images: Images) -> None:
    result = run("surface", small, noise_images, dimensions=1, x="-1:1:7")
    (chart,) = [e for e in result.exhibits if isinstance(e, Chart) and e.title.startswith("Loss")]
    assert chart.lines[0].x.tolist() == pytest.approx(np.linspace(-1, 1, 7).tolist())
    assert (chart.lines[0].high > chart.lines[0].y).all()


def test_the_same_seed_gives_other_models_their_own_directions_on_one_scale(
    small: Model, noise_images: Images
) -> None:
    other = Model(nn.Sequential(*small.network), small.card.model_copy(update={"name": "other"}))
    result = run("surface", small, noise_images, compare_to=[other], x="-1:1:5", y="-1:1:5", mode="exact")
    surface = surface_of(result)
    assert surface.names == ["small", "other"]
    assert np.array_equal(surface.z[0], surface.z[1]), "the same weights and seed: the same surface"


@pytest.mark.parametrize("mode", ["moved", "recalibrated"])
def test_batch_norm_that_moves_or_is_recalibrated_gives_another_surface(
    small: Model, noise_images: Images, mode: str
) -> None:
    more = {"x": "-0.2:0.2:3", "y": "-0.2:0.2:3", "mode": "exact", "move_1d": True}
    frozen = surface_of(run("surface", small, noise_images, **more)).z
    other = surface_of(run("surface", small, noise_images, batch_norm=mode, **more)).z
    assert not np.allclose(frozen, other, equal_nan=True)


def test_losses_that_are_not_finite_are_holes_with_a_warning(small: Model, noise_images: Images) -> None:
    result = run(
        "surface", small, noise_images, x="-1:1e30:3", y="-1:1e30:3", normalisation="none", mode="exact"
    )
    assert np.isnan(surface_of(result).z).any()
    assert any("NaN or infinite" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"x": "1:-1:5"}, "x: the range 1:-1:5 is reversed"),
        ({"x": "1:1:5"}, "x: the range 1:1:5 is empty"),
        ({"y": "-1:1:1"}, "y: the range -1:1:1 has 1 point: it needs 2 to"),
        ({"y": "-1:1"}, "y: '-1:1' is not a range: write low:high:points"),
        ({"x": "nan:1:3"}, "is not a range"),
        ({"dimensions": 1, "y": "-1:1:3"}, "y must be empty for a line"),
        ({"batch_norm": "moved"}, "set move_1d too"),
    ],
)
def test_bad_parameters_get_a_clear_line(
    small: Model, noise_images: Images, parameters: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError) as error:
        run("surface", small, noise_images, **parameters)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_models_of_other_classes_are_refused(small: Model, noise_images: Images) -> None:
    other = model_of(nn.Sequential(nn.Flatten(), nn.Linear(3072, 3)), (3, 32, 32), 3, "three")
    with pytest.raises(UserError, match="predicts other classes than small"):
        run("surface", small, noise_images, compare_to=[other])


def test_a_network_without_batch_norm_works(noise_images: Images) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 10))
    result = run("surface", model_of(network, (3, 32, 32), 10), noise_images, x="-1:1:5", y="-1:1:5")
    assert "batch norm" not in surface_of(result).caption.split("Fast")[1]


class Killed(BaseException):
    """Stands for a signal that ends the process."""


def test_killed_at_ten_random_moments_and_resumed_gives_the_same_bytes(
    small: Model, noise_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surface_grid, "_CHUNK_POINTS", 4)
    analysis = make_analysis("surface", x="-1:1:13", y="-1:1:11")
    images = prepare(small, noise_images)

    def whole(folder: Path, store: ChunkStore | None) -> dict[str, bytes]:
        folder.mkdir()
        save(execute(analysis, small, images, RunJob(5, store=store)), folder, draw=False)
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    expected = whole(tmp_path / "whole", None)
    store = ChunkStore(tmp_path / "chunks", "key")
    original, draw, kills = surface_grid.estimate, np.random.default_rng(0), 0
    for attempt in range(40):
        left = int(draw.integers(3, 18))

        def dying(*arguments: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return original(*arguments)

        monkeypatch.setattr(surface_grid, "estimate", dying)
        try:
            resumed = whole(tmp_path / f"attempt {attempt}", store)
        except Killed:
            kills += 1
            continue
        break
    assert kills >= 10
    assert resumed == expected
