"""surface: exact and fast agree, chunks resume to the same bytes, several models on one scale, bad input."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import probe
from probe.analyses.landscape import surface_grid
from probe.analyses.landscape.surface_arithmetic import Losses
from probe.analyses.landscape.surface_directions import DirectionOptions, make_plane
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Surface
from probe.exhibits.result import Result
from probe.exhibits.storage import save
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare, run
from probe.runs.job import RunJob
from probe.runs.store import ChunkStore
from probe.zoo import build
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


def random_plane(side: str, *, seed: int) -> DirectionOptions:
    return DirectionOptions(
        kind="random", dimensions=2, normalisation="filter", move_1d=False, statistics=False, x=side, y=side,
        seed=seed, eps=0.0, towards=(), trajectory=None, direction_file=None,
    )  # fmt: skip


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
    stated = fast.numbers["stated_error"].value
    assert stated >= fast.numbers["precision_error"].value
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
    assert "batch norm" not in surface_of(result).caption.split("fast mode")[1]


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


def test_between_checkpoints_the_loss_at_1_is_that_of_the_other(
    small: Model, noise_images: Images, tmp_path: Path
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(8)
        state = {
            name: value + 0.3 * torch.rand_like(value) if value.is_floating_point() else value
            for name, value in small.network.state_dict().items()
        }
    torch.save(state, tmp_path / "other.pt")
    result = run(
        "surface",
        small,
        noise_images,
        towards=str(tmp_path / "other.pt"),
        dimensions=1,
        x="0:1:3",
        mode="exact",
    )
    (chart,) = [e for e in result.exhibits if isinstance(e, Chart) and e.title.startswith("Loss")]
    other = Model(nn.Sequential(*small.network), small.card).double()
    other.network.load_state_dict({k: v.double() for k, v in state.items()})
    expected = nn.functional.cross_entropy(other.logits(noise_images.pixels().double()), noise_images.labels)
    assert chart.lines[0].y[-1] == pytest.approx(float(expected), rel=1e-5)
    assert "towards other" in chart.x_label


def _trajectory(model: Model, folder: Path, points: int) -> None:
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    for index in range(points):
        scale = (points - index) / points
        state = {
            name: value + scale * 0.1 * torch.randn(value.shape, generator=draw) ** 2
            if value.is_floating_point()
            else value
            for name, value in model.network.state_dict().items()
        }
        torch.save(state, folder / f"{index:03d}.pt")


def test_a_trajectory_lies_on_its_plane_with_its_own_losses_beside(
    small: Model, noise_images: Images, tmp_path: Path
) -> None:
    _trajectory(small, tmp_path / "epochs", 2)
    result = run("surface", small, noise_images, trajectory=tmp_path, x="-1:1:3", mode="exact")
    surface = surface_of(result)
    assert surface.path.shape == (3, 2)
    assert surface.path[-1].tolist() == [0, 0]
    (chart,) = [e for e in result.exhibits if e.title == "Loss along the trajectory"]
    true, projected = chart.lines
    np.testing.assert_allclose(projected.y, true.y, rtol=1e-3)  # three points lie in their plane


def test_directions_are_read_from_a_file(small: Model, noise_images: Images, tmp_path: Path) -> None:
    weight = small.network[0].weight
    torch.save({"x.0.weight": weight * 0.5, "y.0.weight": torch.ones_like(weight)}, tmp_path / "d.pt")
    result = run(
        "surface", small, noise_images, direction_file=tmp_path / "d.pt", x="-1:0:2", y="0:1:2", mode="exact"
    )
    moved = Model(nn.Sequential(*small.network), small.card).double()
    moved.network[0].weight.data = weight.double() * 0.5
    expected = nn.functional.cross_entropy(moved.logits(noise_images.pixels().double()), noise_images.labels)
    assert surface_of(result).z[0, 0] == pytest.approx(float(expected), rel=1e-5)


def test_eigenvectors_of_the_hessian_curve_the_surface_by_their_eigenvalues(
    small: Model, noise_images: Images
) -> None:
    result = run(
        "surface", small, noise_images, directions="hessian", x="-0.02:0.02:3", y="-0.02:0.02:3", mode="exact"
    )
    surface = surface_of(result)
    second = (surface.z[1, 0].astype(float) - 2 * surface.z[1, 1] + surface.z[1, 2]) / 0.02**2
    assert second == pytest.approx(surface.facts["eigenvalue_1"], rel=0.2)


def test_adversarial_directions_raise_the_loss_more_than_random_ones(
    small: Model, noise_images: Images
) -> None:
    surface = surface_of(
        run("surface", small, noise_images, directions="adversarial", x="-1:1:3", y="-1:1:3", mode="exact")
    )
    assert surface.z[1, 2] > surface.z[1, 1] > surface.z[1, 0]
    assert surface.z[1, 2] - surface.z[1, 1] > 2 * abs(surface.z[2, 1] - surface.z[1, 1])


def test_bad_checkpoints_and_files_get_a_clear_line(
    small: Model, noise_images: Images, tmp_path: Path
) -> None:
    state = small.network.state_dict()
    torch.save({k: v for k, v in state.items() if k != "3.weight"}, tmp_path / "less.pt")
    torch.save({**state, "0.weight": torch.zeros(4, 3, 5, 5)}, tmp_path / "wider.pt")
    torch.save({"x.0.weight": torch.zeros(2, 2)}, tmp_path / "shape.pt")
    torch.save({"a": torch.zeros(2)}, tmp_path / "nothing.pt")
    (tmp_path / "one").mkdir()
    torch.save(state, tmp_path / "one" / "000.pt")
    torch.save(state, tmp_path / "same.pt")
    (tmp_path / "empty").mkdir()
    for parameters, message in (
        ({"towards": str(tmp_path / "less.pt")}, "is of another architecture: it has no 3.weight"),
        ({"towards": str(tmp_path / "wider.pt")}, "0.weight has the shape"),
        ({"towards": str(tmp_path / "same.pt")}, "has the same weights as small"),
        ({"towards": "a,b,c"}, "towards takes one or two checkpoints, got 3"),
        ({"direction_file": tmp_path / "shape.pt"}, "x.0.weight has the shape (2, 2)"),
        ({"direction_file": tmp_path / "nothing.pt"}, "contains no directions"),
        ({"trajectory": tmp_path / "one"}, "has one point: it needs at least two"),
        ({"trajectory": tmp_path / "empty"}, "contains no checkpoints"),
        ({"trajectory": tmp_path / "missing"}, "there is no folder"),
    ):
        with pytest.raises(UserError) as error:
            run("surface", small, noise_images, **parameters)
        assert message in str(error.value)


def test_the_surface_of_a_densely_connected_network_folds_what_can_be_folded(noise_images: Images) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model_of(build("densenet-cifar"), (3, 32, 32), 10, "densenet")
    ranges = {"x": "-0.5:0.5:3", "y": "-0.5:0.5:2", "max_images": 8}
    fast, exact = (run("surface", model, noise_images, mode=mode, **ranges) for mode in ("fast", "exact"))
    np.testing.assert_allclose(
        surface_of(fast).z, surface_of(exact).z, rtol=2 * fast.numbers["stated_error"].value + 1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data"), [("vgg-shapes", "shapes:test"), ("resnet20-cifar10", "cifar10:test")]
)
def test_the_stated_error_holds_at_held_out_points_of_trained_networks(name: str, data: str) -> None:
    if data == "cifar10:test" and not (Path(os.environ.get("PROBE_DATA", "none")) / "cifar10").is_dir():
        pytest.skip("PROBE_DATA has no cifar10")
    model = probe.load(name, device="cpu")
    images = prepare(model, probe.images(data, n=300, seed=0))
    plane = make_plane(model, images, random_plane("-1:1:13", seed=2))
    settings = surface_grid.GridSettings("fast", "frozen", 0.02)
    grid = surface_grid.compute_grid(model, images, plane, settings, RunJob(2))
    losses = Losses(model, images, plane, "frozen")
    truth = losses.surface(losses.exact)
    draw = np.random.default_rng(7).permutation(grid.loss.size)[:60]
    points = [divmod(int(i), len(plane.x)) for i in draw]
    expected = [truth.at(plane.coordinates(*point)).losses.mean() for point in points]
    where = tuple(np.array(points).T)
    true = np.abs(grid.loss[where] / np.array(expected) - 1)
    print(f"{name}: stated {grid.error.max():.3%}, true {true.max():.3%} at most")
    assert (true <= grid.error[where] + 1e-6).mean() >= 0.95
