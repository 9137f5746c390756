"""Workers are faster than one process, and large folders are listed quickly: ratios in one run, the start of workers excluded."""

import io
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
    "robustness": make_analysis("robustness", max_images=112, minutes=0.3),
    "surface": make_analysis("surface", x="-1:1:10", y="-1:1:9", mode="exact", max_images=200),
}
BARE = """
import sys, time, torch, probe
torch.set_num_threads(1)
model, images = probe.load("vgg-shapes", device="cpu"), probe.images("shapes", n=200).pixels()
with torch.inference_mode():
    model.logits(images[:100])
    print("ready", flush=True)
    sys.stdin.readline()
    start, passes = time.perf_counter(), 0
    while time.perf_counter() - start < 6:
        model.logits(images[:100])
        passes += 1
    print(passes / (time.perf_counter() - start))
"""


@pytest.fixture(scope="module")
def given() -> tuple[Model, Images]:
    model = probe.load("vgg-shapes", device="cpu")
    return model, probe.images("shapes", n=300)


def seconds(analysis: Analysis, given: tuple[Model, Images], path: Path, pool: Pool) -> float:
    """The time of a run, with workers that have started and loaded the model."""
    inputs = Inputs(given[0], prepare(*given))
    with single_thread():
        start = time.perf_counter()
        run_or_load(Chunky(), inputs, RunDirectory(path), folder="start", pool=pool)
        print(f"start of {pool.size} workers: {time.perf_counter() - start:.1f} s")
        start = time.perf_counter()
        run_or_load(analysis, inputs, RunDirectory(path), folder="result", pool=pool)
        return time.perf_counter() - start


def passes_a_second(processes: int) -> float:
    """Passes of the network by that many bare processes together."""
    command = [sys.executable, "-c", BARE]
    pipe = subprocess.PIPE
    running = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(processes)]
    for process in running:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    return sum(float(process.communicate()[0]) for process in running)


@pytest.fixture(scope="module")
def limit() -> float:
    """How much more two processes compute on this machine than one, whatever hands out their work."""
    return passes_a_second(2) / passes_a_second(1)


@pytest.fixture(scope="module", params=CASES)
def single(request: pytest.FixtureRequest, given: tuple[Model, Images], tmp_path_factory: Any) -> Any:
    """An analysis, and the time of one process for it."""
    with Engine.chosen("processes", 1, None).open(cuda=False) as pool:
        assert pool is not None
        folder = tmp_path_factory.mktemp("single")
        return request.param, seconds(CASES[request.param], given, folder, pool)


@pytest.mark.parametrize(("engine", "ratio"), [("processes", 1.6), ("ray", 1.4)])
def test_two_workers_are_faster_than_one_process(
    engine: str,
    ratio: float,
    single: tuple[str, float],
    limit: float,
    given: tuple[Model, Images],
    tmp_path: Path,
) -> None:
    analysis, alone = single
    with Engine.chosen(engine, 2, None).open(cuda=False) as pool:
        assert pool is not None
        together = seconds(CASES[analysis], given, tmp_path, pool)
    print(
        f"{analysis}: {alone:.1f} s by one process, {together:.1f} s by two ({engine}): {alone / together:.2f} times as "
        f"fast; the machine allows {limit:.2f}"
    )
    if limit < ratio:
        pytest.skip(
            f"two bare processes compute {limit:.2f} times as much as one here: the machine is busy, or has one core"
        )
    assert alone / together >= ratio


DECODING = """
import sys, time, probe
from probe.data import file_store
from probe.data.decoders import DECODERS
if sys.argv[2] == "1":
    file_store._workers = lambda: 1
images = probe.images("folder:" + sys.argv[1]).preprocessed((3, 224, 224), "resize 256, centre crop 224")
for number in range(3):  # first of all processes are started
    start = time.perf_counter()
    for batch in images.batches(64):
        pass
    seconds = time.perf_counter() - start
print(len(images) / seconds, len(DECODERS.pids()))
"""


def test_two_processes_decode_faster_than_one_thread(limit: float, tmp_path: Path) -> None:
    """As batches of 224 x 224, which one thread puts together."""
    rng = np.random.default_rng(0)
    for index in range(2500):
        if index < 50:
            noise = Image.fromarray(rng.integers(0, 256, (43, 57, 3), dtype=np.uint8))
            content = io.BytesIO()
            noise.resize((341, 256), Image.Resampling.BICUBIC).save(content, "JPEG", quality=90)
            (tmp_path / f"{index}.jpg").write_bytes(content.getvalue())
        else:
            (tmp_path / f"{index}.jpg").hardlink_to(tmp_path / f"{index % 50}.jpg")
    rates = {}
    for name, threads, processes in (("one thread", 1, 0), ("two threads", 2, 0), ("two processes", 2, 2)):
        command = [sys.executable, "-c", DECODING, str(tmp_path), str(threads)]
        environment = {**os.environ, "PROBE_DECODERS": str(processes)}
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        rate, count = map(float, done.stdout.split())
        assert count == processes
        rates[name] = rate
    print(*(f"{name}: {rate:.0f} images a second" for name, rate in rates.items()), sep=", ")
    if limit < 1.6:
        pytest.skip(f"two bare processes compute {limit:.2f} times as much as one here")
    assert rates["two processes"] >= 1.2 * rates["one thread"]


MEMORY = """
import sys
from pathlib import Path
import probe
from probe.runs.engine import Engine
from probe.runs.execute import prepare, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.store import RunDirectory
from tests.memory import peak_memory
from tests.runs.chunky import Payload

model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=8)
inputs = Inputs(model, prepare(model, images))
with Engine(name="processes", workers=2).open(cuda=False) as pool:
    for count in (20, 2000):
        run_or_load(Payload(count=count), inputs, RunDirectory(Path(sys.argv[1])), folder=str(count), pool=pool)
        print(peak_memory())
"""


def test_the_memory_of_the_driver_does_not_depend_on_the_number_of_chunks(tmp_path: Path) -> None:
    """The same 40 MB from 20 chunks, and from 2,000."""
    command = [sys.executable, "-c", MEMORY, str(tmp_path)]
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    few, many = map(int, done.stdout.split())
    elapsed = time.perf_counter() - start
    print(f"20 chunks {few / 2**20:.0f} MB, 2,000 chunks {many / 2**20:.0f} MB; {elapsed:.0f} s for both")
    assert many - few < 20 * 2**20


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
        "import sys, time, probe, probe.data.sources as s\n"
        "from tests.memory import peak_memory\n"
        "before = peak_memory(); start = time.perf_counter()\n"
        "images = s.open_images(f'folder:{sys.argv[1]}', n=500); images.digest\n"
        "print(len(images), time.perf_counter() - start, peak_memory() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    count, elapsed, taken = map(float, done.stdout.split())
    print(f"200,000 files: {elapsed:.1f} s, {taken / 1e6:.0f} MB")
    assert count == 500
    assert elapsed <= 10
    assert taken <= 500e6
