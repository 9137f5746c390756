"""Passes over images in chunks: the numbers of an undivided pass, the bytes of the plain loop on workers, and resumption."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import probe
from probe.analyses import image_chunks
from probe.analyses.image_chunks import Cost, chunk_rows, over_batches, over_images
from probe.analyses.inspection import image_statistics_chunks
from probe.analyses.job import Arrays
from probe.analyses.synthesis import maximise_optimise
from probe.data.images import Batch, Images
from probe.exhibits.exhibits import ImageGrid, Table
from probe.methods.units.top_patches import merge_top_activations, top_activations
from probe.model.model import Model
from probe.runs.execute import make_analysis, prepare, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.job import RunJob
from probe.runs.pool import Pool
from probe.runs.store import RunDirectory
from probe.runs.threads import single_thread
from tests.runs.thread_worker import ThreadWorker

ANALYSES = {
    "classify": {},
    "top-patches": {"channels": 2},
    "embed": {"methods": ("pca",), "neighbours": 5, "seeds": 1, "grid": 0},
    "neighbours": {},
    "image-statistics": {},
    "maximise": {"n_units": 3, "steps": 4},
    "maximise of channels": {"n_units": 3, "steps": 4, "layer": "conv2"},
}


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of one batch of eight images, and of one image that is optimised."""
    monkeypatch.setattr(image_chunks, "_SECONDS", 0.0)
    monkeypatch.setattr(image_chunks, "_SHORT", 0.0)
    monkeypatch.setattr(image_statistics_chunks, "_BATCH", 8)
    monkeypatch.setattr(maximise_optimise, "_CHUNK_SECONDS", 0.0)


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> Inputs:
    monkeypatch.setattr(Model, "batch", lambda self, gradient=False: 8)
    model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=44)
    return Inputs(model, prepare(model, images), seed=3)


def stored(case: str, inputs: Inputs, path: Path, pool: Pool | None = None) -> dict[str, bytes]:
    analysis = make_analysis(case.partition(" ")[0], **ANALYSES[case])
    with single_thread():
        run_or_load(analysis, inputs, RunDirectory(path), folder="result", pool=pool)
    return {file.name: file.read_bytes() for file in sorted((path / "result").iterdir())}


@pytest.mark.parametrize("case", ANALYSES)
def test_chunks_on_a_worker_have_the_bytes_of_the_plain_loop(
    case: str, inputs: Inputs, small_chunks: None, tmp_path: Path
) -> None:
    worker = ThreadWorker()
    pool = Pool(worker, 1)
    try:
        assert stored(case, inputs, tmp_path / "worker", pool) == stored(case, inputs, tmp_path / "plain")
    finally:
        pool.kill()
    assert worker.replies > 3


@pytest.mark.parametrize("case", ["classify", "top-patches", "embed", "neighbours", "image-statistics"])
def test_chunks_of_a_large_set_change_no_number(
    case: str, inputs: Inputs, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    analysis = make_analysis(case, **ANALYSES[case])
    whole = analysis.run(inputs.model, inputs.images, RunJob(0))
    request.getfixturevalue("small_chunks")
    chunked = analysis.run(inputs.model, inputs.images, RunJob(0))
    assert chunked.numbers.keys() == whole.numbers.keys()
    for name, number in whole.numbers.items():
        assert chunked.numbers[name].value == pytest.approx(number.value, rel=1e-6), name
    for mine, other in zip(chunked.exhibits, whole.exhibits, strict=True):
        assert mine.title == other.title
        if isinstance(mine, Table) and isinstance(other, Table):
            for row, expected in zip(mine.rows, other.rows, strict=True):
                for cell, value in zip(row, expected, strict=True):
                    assert cell == (pytest.approx(value, rel=1e-4) if isinstance(value, float) else value)


@pytest.mark.parametrize("options", [{}, {"layer": "conv2", "smoothness": 10.0}], ids=["classes", "channels"])
def test_images_that_are_optimised_apart_are_those_that_are_optimised_together(
    options: dict[str, Any], inputs: Inputs, request: pytest.FixtureRequest
) -> None:
    analysis = make_analysis("maximise", n_units=3, steps=8, precision="float32", **options)
    together = analysis.run(inputs.model, inputs.images, RunJob(0))
    request.getfixturevalue("small_chunks")
    apart = analysis.run(inputs.model, inputs.images, RunJob(0))
    grids = [next(e for e in result.exhibits if isinstance(e, ImageGrid)) for result in (apart, together)]
    assert grids[0].title.startswith("Images that maximise")
    for mine, other in zip(*(grid.images for grid in grids), strict=True):
        np.testing.assert_allclose(mine, other, atol=0.02)


def test_an_interrupted_pass_continues_after_the_finished_chunks(
    inputs: Inputs, small_chunks: None, tmp_path: Path
) -> None:
    seen: list[int] = []

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        positions = torch.cat([batch.positions for batch in batches])
        assert len(positions) == n
        seen.append(int(positions[0]))
        if len(seen) == 4:
            raise KeyboardInterrupt
        return {"positions": positions.numpy()}

    def job() -> RunJob:
        return RunJob(0, store=RunDirectory(tmp_path).chunks("a", "key"))

    with pytest.raises(KeyboardInterrupt):
        over_images(job(), "pass", inputs.model, inputs.images, compute)
    chunks = over_images(job(), "pass", inputs.model, inputs.images, compute)
    assert seen == [0, 8, 16, 24, 24, 32, 40]
    assert np.concatenate([chunk["positions"] for chunk in chunks]).tolist() == list(range(44))


def parts_of(images: Images, cost: Cost) -> list[int]:
    """How many images each part of a pass has."""

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        assert sum(len(batch.pixels) for batch in batches) == n
        return {"n": np.array([n])}

    return [int(part["n"][0]) for part in over_batches(RunJob(0), "pass", images, compute, cost)]


@pytest.mark.parametrize(
    ("cost", "parts"),
    [
        (Cost(1e-6, batch=8), [100]),  # too short to be cut
        (Cost(0.09, batch=8), [100]),  # nine seconds: one part
        (Cost(0.25, batch=8), [40, 40, 20]),  # parts of ten seconds
        (Cost(0.3, batch=8), [40, 40, 20]),  # of whole batches
        (Cost(100.0, batch=8), [8] * 12 + [4]),
        (Cost(100.0, batch=8, most=4), [32, 32, 32, 4]),
        (Cost(100.0, batch=8, min_images=50), [100]),
    ],
)
def test_parts_take_ten_seconds_in_whole_batches_and_are_not_too_many(cost: Cost, parts: list[int]) -> None:
    assert parts_of(Images.from_tensor(torch.zeros(100, 1, 2, 2)), cost) == parts


def test_the_time_of_decoding_counts_for_images_on_disk_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_chunks, "_SECONDS_PER_PIXEL", 0.049)  # five seconds for 100 pixels
    for index in range(8):
        Image.new("L", (10, 10), index).save(tmp_path / f"{index}.png")
    cost = Cost(1e-6, batch=1)
    assert parts_of(probe.images(f"folder:{tmp_path}"), cost) == [2, 2, 2, 2]
    assert parts_of(Images.from_tensor(torch.zeros(8, 1, 10, 10)), cost) == [8]


def test_the_largest_activations_of_parts_are_those_of_the_whole(
    convnet: Model, noise_images: Images
) -> None:
    whole = top_activations(convnet, noise_images.batches(8), ["4"], k=5)["4"]

    def parts() -> Iterator[Any]:
        for rows in torch.arange(40).split(16):
            batches = noise_images.select(rows).batches(8)
            shifted = (Batch(b.positions + int(rows[0]), b.pixels, b.labels) for b in batches)
            yield top_activations(convnet, shifted, ["4"], k=5)["4"]

    merged = merge_top_activations(list(parts()), 5)
    for name in ("value", "image", "row", "column", "active"):
        assert torch.equal(getattr(merged, name), getattr(whole, name)), name
    torch.testing.assert_close(merged.class_means, whole.class_means)


def test_a_part_is_a_whole_number_of_batches_and_their_number_is_bounded() -> None:
    for n, batch, seconds in ((1_281_167, 32, 0.1), (50_000, 100, 1e-5), (10_000, 64, 0.02), (7, 8, 100.0)):
        parts = chunk_rows(n, batch, seconds)
        assert torch.equal(torch.cat(parts), torch.arange(n))
        assert len(parts) <= 256
        assert all(len(rows) % batch == 0 for rows in parts[:-1])
    assert len(chunk_rows(50_000, 100, 1e-5)) == 1
    assert len(chunk_rows(50_000, 100, 1e-5, min_images=1024)) == 1
    assert min(map(len, chunk_rows(50_000, 100, 1e-2, min_images=1024)[:-1])) >= 1024
