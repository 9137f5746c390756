"""Workers are faster than one process, and large folders are listed quickly: ratios in one run, the start of workers excluded."""

import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import probe
from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.model.model import Model
from probe.runs.engine import Engine
from probe.runs.execute import make_analysis, prepare, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.pool import Pool
from probe.runs.store import RunDirectory
from probe.runs.threads import single_thread
from tests.runs.chunky import Chunky

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

CASES = {
    "robustness": make_analysis("robustness", max_images=256, minutes=1),
    "surface": make_analysis("surface", x="-1:1:11", y="-1:1:11", mode="exact", max_images=200),
}


@pytest.fixture(scope="module")
def given() -> tuple[Model, Images]:
    model = probe.load("vgg-shapes", device="cpu")
    return model, probe.images("shapes", n=300)


def seconds(analysis: Analysis, given: tuple[Model, Images], path: Path, pool: Pool | None) -> float:
    """The time of a run; with workers that have started and loaded the model."""
    inputs = Inputs(given[0], prepare(*given))
    with single_thread():
        if pool:
            start = time.perf_counter()
            run_or_load(Chunky(), inputs, RunDirectory(path), folder="start", pool=pool)
            print(f"start of {pool.size} workers: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        run_or_load(analysis, inputs, RunDirectory(path), folder="result", pool=pool)
        return time.perf_counter() - start


@pytest.mark.parametrize("analysis", CASES)
@pytest.mark.parametrize(("engine", "ratio"), [("processes", 1.6), ("ray", 1.4)])
def test_two_workers_are_faster_than_one_process(
    analysis: str, engine: str, ratio: float, given: tuple[Model, Images], tmp_path: Path
) -> None:
    times = {}
    for workers in (1, 2):
        with Engine.chosen(engine if workers == 2 else "processes", workers, None).open(cuda=False) as pool:
            times[workers] = seconds(CASES[analysis], given, tmp_path / str(workers), pool)
    print(f"{analysis}: {times[1]:.1f} s by one process, {times[2]:.1f} s by two ({engine})")
    assert times[1] / times[2] >= ratio


def test_a_sweep_of_twelve_checkpoints_takes_little_more_than_its_analyses(tmp_path: Path) -> None:
    net = tmp_path / "net"
    probe.train("lenet5", "digits", out=net, epochs=11, save_epochs=True, device="cpu")
    images = probe.images("digits:test", n=200)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[[analysis]]\nname = "classify"\n[[analysis]]\nname = "fgsm"\n')
    single = Engine(name="local", workers=1)
    files = sorted((net / "epochs").glob("*"))
    probe.report(probe.load(files[0], device="cpu"), images, recipe, out=tmp_path / "warm", workers=single)
    start = time.perf_counter()
    for path in files:
        probe.report(probe.load(path, device="cpu"), images, recipe, out=tmp_path / "each", workers=single)
    each = time.perf_counter() - start
    start = time.perf_counter()
    probe.sweep([net / "epochs"], images, recipe, out=tmp_path / "sweep", device="cpu", workers=single)
    whole = time.perf_counter() - start
    print(f"12 reports: {each:.1f} s, the sweep: {whole:.1f} s")
    assert whole <= 1.1 * each


def test_200_000_files_are_listed_in_ten_seconds_and_500_megabytes(tmp_path: Path) -> None:
    """The memory is that beyond what the libraries take."""
    rng = np.random.default_rng(0)
    content = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(content, "PNG")
    for number in range(200):
        (tmp_path / f"class{number:03d}").mkdir()
        for index in range(1000):
            (tmp_path / f"class{number:03d}" / f"{index:04d}.png").write_bytes(content.getvalue())
    script = (
        "import resource, sys, time, probe, probe.data.sources as s\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss; start = time.perf_counter()\n"
        "images = s.open_images(f'folder:{sys.argv[1]}', n=500); images.digest\n"
        "print(len(images), time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, elapsed, kilobytes = map(float, done.stdout.split())
    print(f"200,000 files: {elapsed:.1f} s, {kilobytes / 1024:.0f} MB")
    assert count == 500
    assert elapsed <= 10
    assert kilobytes <= 500 * 1024
