"""Loss surfaces are fast enough, with the same losses: ratios within one run."""

import copy
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import probe
from probe.analyses.job import Job
from probe.analyses.landscape.surface_directions import DirectionOptions, make_plane
from probe.analyses.landscape.surface_grid import GridSettings, compute_grid
from probe.analyses.landscape.surface_plane import Plane
from probe.data.images import Images
from probe.exhibits.exhibits import Surface
from probe.model.model import Model
from probe.precision import computes_in_bf16
from probe.runs.execute import prepare, run
from probe.runs.job import RunJob

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def random_images(model: Model, n: int) -> Images:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, *model.shape), dtype=torch.uint8, generator=draw)
    return Images.from_tensor(pixels, torch.arange(n) % len(model.classes), classes=model.classes)


def plane_of(model: Model, images: Images, x: str, y: str) -> Plane:
    options = DirectionOptions(
        kind="random", dimensions=2, normalisation="filter", move_1d=False, statistics=False, x=x, y=y, seed=1,
        eps=0.0, towards=(), trajectory=None, direction_file=None,
    )  # fmt: skip
    return make_plane(model, images, options)


def plain_loop(model: Model, images: Images, plane: Plane, points: list[tuple[int, int]]) -> np.ndarray:
    """As it is usually written: set the weights, go through a DataLoader in float32 and NCHW, sum the loss."""
    network = copy.deepcopy(model.network).to(memory_format=torch.contiguous_format)
    pixels = model.normalise(images.pixels()).contiguous()
    loader = DataLoader(TensorDataset(pixels, images.labels), batch_size=128)
    origin = {name: p.detach().clone() for name, p in network.named_parameters()}
    losses = []
    for row, column in points:
        a, b = plane.coordinates(row, column)
        for name, parameter in network.named_parameters():
            if name in plane.directions[0]:
                change = plane.directions[0][name] * a + plane.directions[1][name] * b
                parameter.data = (origin[name] + change).contiguous()
        total = 0.0
        with torch.no_grad():
            for inputs, labels in loader:
                total += F.cross_entropy(network(inputs), labels).item() * len(labels)
        losses.append(total / len(images))
    return np.array(losses)


def timed(call: Any) -> tuple[Any, float]:
    start = perf_counter()
    return call(), perf_counter() - start


def test_nine_points_of_resnet56_are_faster_than_the_plain_loop_with_the_same_losses() -> None:
    model = probe.load("resnet56-cifar10", device="cpu")
    images = prepare(model, random_images(model, 1000))
    plane = plane_of(model, images, "-0.5:0.5:3", "-0.5:0.5:3")
    points = [(i, j) for i in range(3) for j in range(3)]
    plain_loop(model, images.select(range(128)), plane, points[:1])
    expected, plain = timed(lambda: plain_loop(model, images, plane, points).reshape(3, 3))
    seconds, errors = {}, {}
    for mode in ("exact", "fast"):
        settings = GridSettings(mode, "frozen", 0.0)
        job: Job = RunJob(0)
        chunks: list[float] = []
        original = job.chunks

        def chunks_of_points(
            name: str, items: Any, compute: Any, original: Any = original, chunks: Any = chunks
        ) -> Any:
            result, taken = timed(lambda: original(name, items, compute))
            if name.endswith("grid"):
                chunks.append(taken)  # per point: the checks of fast mode belong to the whole surface
            return result

        job.chunks = chunks_of_points  # type: ignore[method-assign]
        grid = compute_grid(model, images, plane, settings, job)
        seconds[mode] = sum(chunks)
        errors[mode] = float(np.abs(grid.loss / expected - 1).max())
    ratios = {mode: plain / taken for mode, taken in seconds.items()}
    print(f"\nplain {plain:.1f} s; ratio {ratios}; largest relative error {errors}")
    assert errors["exact"] < 1e-4
    assert errors["fast"] < 0.01
    assert ratios["exact"] >= 1.3
    assert ratios["fast"] >= (2.5 if computes_in_bf16(torch.device("cpu")) else 1.3)


def test_a_surface_of_resnet20_is_8_times_faster_than_the_full_grid_and_inside_its_stated_error() -> None:
    data = Path(__import__("os").environ.get("PROBE_DATA", "none"))
    if not (data / "cifar10").is_dir():
        pytest.skip("PROBE_DATA has no cifar10")
    model = probe.load("resnet20-cifar10", device="cpu")
    images = prepare(model, probe.images("cifar10:train", n=2000, seed=0))
    plane = plane_of(model, images, "-1:1:25", "-1:1:25")
    grid, fast = timed(
        lambda: compute_grid(model, images, plane, GridSettings("fast", "frozen", 0.02), RunJob(0))
    )
    draw = np.random.default_rng(0)
    points = [tuple(p) for p in draw.permutation(np.argwhere(~grid.computed))[:20].tolist()]
    points += [tuple(p) for p in draw.permutation(np.argwhere(grid.computed))[: 20 - len(points)].tolist()]
    expected, plain = timed(lambda: plain_loop(model, images, plane, points))
    where = tuple(np.array(points).T)
    errors = np.abs(grid.loss[where] / expected - 1)
    inside = float((errors <= grid.error[where] + 1e-6).mean())
    ratio = plain / len(points) * grid.loss.size / fast
    print(
        f"\nratio {ratio:.1f}; computed {grid.computed.mean():.0%}; largest true error {errors.max():.3%}; inside {inside:.0%}"
    )
    assert inside >= 0.95
    assert ratio >= 8


def test_the_default_surface_of_the_embedded_model_takes_at_most_30_s_on_two_cores() -> None:
    torch.set_num_threads(2)
    model = probe.load("vgg-shapes", device="cpu")
    images = probe.images("shapes:test")
    result, taken = timed(lambda: run("surface", model, images))
    (surface, *_) = [e for e in result.exhibits if isinstance(e, Surface)]
    print(f"\n{taken:.1f} s, {surface.computed.mean():.0%} of the points")
    assert taken <= 30


PEAK = """
import sys, torch
from torch import nn
from tests.benchmarks.test_landscape import plane_of, random_images
from tests.conftest import model_of
from tests.memory import peak_memory
from probe.analyses.landscape.surface_grid import GridSettings, compute_grid
from probe.runs.job import RunJob
torch.set_num_threads(1)
network = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2048), nn.ReLU(), nn.Linear(2048, 10))
model = model_of(network, (3, 32, 32), 10)
images = random_images(model, 200)
plane = plane_of(model, images, *[f"-1:1:{sys.argv[1]}"] * 2)
before = peak_memory()
compute_grid(model, images, plane, GridSettings(sys.argv[2], "frozen", 0.0), RunJob(0))
print(before, peak_memory())
"""
WEIGHTS = 4 * (3072 * 2048 + 2048 + 20480 + 10)


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_memory_is_weights_and_directions_and_does_not_grow_with_the_points(mode: str) -> None:
    def peak(side: int) -> tuple[float, float]:
        """Copies of the weights that are held before and at the peak."""
        command = [sys.executable, "-c", PEAK, str(side), mode]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        before, most = (int(number) / WEIGHTS for number in done.stdout.split())
        return before, most

    few, many = peak(3), peak(15)
    print(
        f"\n{mode}: {few[1] - few[0]:.1f} copies of the weights for 9 points, {many[1] - many[0]:.1f} for 225"
    )
    assert many[1] - many[0] <= 10, "a few networks that move, each with its origin and directions"
    assert many[1] - few[1] <= 1.5, "temporaries of one point, at most"
