"""Engines: worker processes give the bytes of the plain loop, whatever happens to them."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import probe
from probe.data.images import Images
from probe.errors import UserError
from probe.model.model import Model
from probe.runs import pool as pools
from probe.runs.engine import Engine
from probe.runs.execute import prepare, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.messages import Done, Failed, Hello, Lost, Task
from probe.runs.pool import EngineError, Pool
from probe.runs.progress import LineDisplay
from probe.runs.provenance import code_digest, versions
from probe.runs.store import RunDirectory
from probe.runs.threads import single_thread
from tests.runs.chunky import Chunky
from tests.runs.thread_worker import ThreadWorker


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=8)
    return Inputs(model, prepare(model, images), seed=3)


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Engine(name="processes", workers=2).open(cuda=False) as opened:
        assert opened is not None
        yield opened


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def stored(analysis: Chunky, inputs: Inputs, path: Path, pool: Pool | None = None) -> dict[str, bytes]:
    """The files of the result of `analysis`, but for its key, which depends on its parameters."""
    with single_thread():
        run_or_load(analysis, inputs, RunDirectory(path), folder="chunky", pool=pool)
    files = contents(path / "chunky")
    del files["key.json"]
    return files


def test_a_worker_that_is_killed_costs_its_chunk_alone_and_no_byte(
    inputs: Inputs, pool: Pool, tmp_path: Path
) -> None:
    plain = stored(Chunky(), inputs, tmp_path / "plain")
    assert stored(Chunky(), inputs, tmp_path / "workers", pool) == plain
    (tmp_path / "kill-2").touch()
    assert stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "killed", pool) == plain
    assert not (tmp_path / "kill-2").exists()


def test_errors_in_a_chunk_are_those_of_the_plain_loop_with_the_traceback_of_the_worker(
    inputs: Inputs, pool: Pool, tmp_path: Path
) -> None:
    (tmp_path / "user-1").touch()
    with pytest.raises(UserError, match=r"^what a user can correct$"):
        stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "run", pool)
    (tmp_path / "user-1").rename(tmp_path / "bug-1")
    with pytest.raises(ZeroDivisionError) as caught:
        stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "run", pool)
    assert "in _trap" in caught.value.__notes__[0]
    (tmp_path / "bug-1").unlink()
    assert stored(Chunky(traps=str(tmp_path)), inputs, tmp_path / "run", pool)


def test_images_on_disk_travel_as_paths_and_a_missing_one_is_named(
    inputs: Inputs, pool: Pool, tmp_path: Path
) -> None:
    grid = probe.images("digits:test", n=8).pixels()
    from PIL import Image

    for index, pixels in enumerate(grid):
        Image.fromarray((pixels[0].numpy() * 255).astype(np.uint8)).save(tmp_path / f"{index}.png")
    images = prepare(inputs.model, probe.images(f"folder:{tmp_path}"))
    on_disk = Inputs(inputs.model, images, seed=3)
    plain = stored(Chunky(), on_disk, tmp_path / "plain")
    assert stored(Chunky(), on_disk, tmp_path / "workers", pool) == plain
    missing = Inputs(inputs.model, images, seed=4)
    assert images.digest  # known to the driver before the file vanishes
    (tmp_path / "0.png").unlink()
    with pytest.raises(UserError, match=r"0\.png"):
        stored(Chunky(), missing, tmp_path / "missing", pool)


def test_a_model_that_a_node_does_not_have_is_named_with_the_node(inputs: Inputs, tmp_path: Path) -> None:
    copy = tmp_path / "net"
    assert inputs.model.folder is not None
    shutil.copytree(inputs.model.folder, copy)
    there = replace(inputs, model=probe.load(copy, device="cpu"))
    copy.rename(tmp_path / "moved")
    with pytest.raises(UserError, match=f"^on node-3: .*{copy}") as caught:
        stored(Chunky(), there, tmp_path / "run", Pool(ThreadWorker("node-3"), 1))
    assert "\n" not in str(caught.value)
    other = replace(inputs, model=probe.load("lenet5-digits", device="cpu"))
    other.model.spec = "lenet5-mnist"
    with pytest.raises(UserError, match=r"on node-3: the model lenet5-mnist differs from that of the driver"):
        stored(Chunky(), other, tmp_path / "other", Pool(ThreadWorker("node-3"), 1))


def test_a_network_in_memory_runs_on_local_alone(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    with pytest.raises(EngineError, match=r"convnet exists only in this process.*without workers"):
        probe.report(convnet, noise_images, "quick", out=tmp_path, workers=2)
    with pytest.raises(EngineError, match="convnet exists only in this process"):
        probe.run(Chunky(), convnet, noise_images, workers=2)
    assert probe.run(Chunky(), convnet, noise_images, workers=Engine(name="local", workers=1)).numbers


@pytest.mark.parametrize("workers", [0, -1, True, "2"])
def test_a_number_of_workers_is_a_whole_number_from_1(workers: Any) -> None:
    with pytest.raises(UserError, match="workers must be a whole number of at least 1"):
        Engine.of(workers)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (("local", 2, None), "the engine local has a single worker, got 2"),
        (("processes", 2, "here:1"), "an address can only be set for the engine ray, not for processes"),
        (("ray", None, "nonsense"), "address must be HOST:PORT of a Ray cluster, or auto, got 'nonsense'"),
        (("ray", None, "127.0.0.1:9"), "no Ray cluster answers at 127.0.0.1:9"),
    ],
)
def test_options_that_lead_to_no_workers_are_answered_in_one_line(chosen: Any, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught, Engine.chosen(*chosen).open(cuda=False):
        pass
    assert "\n" not in str(caught.value)


def test_without_ray_the_engine_ray_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(EngineError, match="pip install 'cnn-probe\\[ray\\]'"),
        Engine(name="ray").open(cuda=False),
    ):
        pass


class FakeRay(ModuleType):
    """Of Ray what is used before there is a worker; `failure` is raised by `init` and `put`."""

    def __init__(self, failure: Exception) -> None:
        super().__init__("ray")
        self.failure = failure
        self.exceptions = ModuleType("ray.exceptions")
        self.exceptions.RayError = type(failure)  # pyrefly: ignore[missing-attribute]

    def is_initialized(self) -> bool:
        return True

    def nodes(self) -> list[None]:
        return [None]

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 2.0}

    def put(self, content: bytes) -> None:
        raise self.failure


def install(ray: FakeRay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)


def test_a_full_object_store_is_answered_with_what_did_not_fit(
    inputs: Inputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(Exception):
        pass

    install(FakeRay(Full("The object store is full.\nAdvice.")), monkeypatch)
    large = replace(inputs, images=prepare(inputs.model, probe.images(np.zeros((3000, 1, 32, 32), np.uint8))))
    with Engine(name="ray").open(cuda=False) as pool:
        assert pool is not None
        with pytest.raises(
            EngineError, match=r"cannot store the 3 MB .*\(The object store is full\.\): use images on"
        ):
            pool.begin(Chunky(), large)


def test_a_cluster_of_another_python_is_answered_with_both_versions_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """As Ray words it, in several lines."""
    ray = FakeRay(RuntimeError())
    text = "Version mismatch: The cluster was started with:\n    Ray: 2.60.0\n    Python: 3.12.1\nThis process on 10.0.0.1 "
    text += "was started with:\n    Ray: 2.60.0\n    Python: 3.11.7\n"

    def init(**options: Any) -> None:
        os.write(2, b"Failed to get cluster ID\n")  # as Ray's library does once a second
        raise RuntimeError(text)

    install(ray, monkeypatch)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init, raising=False)
    with (
        pytest.raises(
            EngineError, match=r"started with: Ray: 2\.60\.0 Python: 3\.12\.1 This .* Python: 3\.11\.7"
        ),
        Engine(name="ray").open(cuda=False),
    ):
        pass
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


class Scripted:
    """Workers that reply what `play` says of the numbers of a worker and of a chunk; no processes."""

    def __init__(self, play: Any, greeting: Hello | Lost | None = None) -> None:
        self.play = play
        self.greeting = greeting or Hello("node-1", versions(), code_digest())
        self.replies: list[tuple[int, Any]] = []
        self.sent: list[tuple[int, Any]] = []
        self.started = self.killed = self.most = 0

    def start(self) -> int:
        self.started += 1
        self.replies.append((self.started, self.greeting))
        return self.started

    def share(self, message: Any) -> Any:
        return message

    def send(self, worker: int, shared: Sequence[Any]) -> None:
        self.sent += [(worker, message) for message in shared]
        self.replies.append((worker, self.play(worker, shared[-1])))

    def wait(self, seconds: float) -> Sequence[tuple[int, Any]]:
        self.most = max(self.most, len(self.replies))
        return [self.replies.pop(0)] if self.replies else []

    def kill(self) -> None:
        self.killed += 1


def done(worker: int, task: Task) -> Done:
    return Done(task, {"index": np.array([task.index])})


def test_a_chunk_that_ends_three_workers_is_given_up(inputs: Inputs) -> None:
    workers = Scripted(lambda w, task: Lost("killed by SIGKILL") if task.index == 1 else done(w, task))
    run = Pool(workers, 2).begin(Chunky(), inputs)
    with pytest.raises(
        UserError, match=r"3 workers exited while computing chunk 2 of 4 of 'a' \(killed by SIGKILL\)"
    ):
        list(run.map("a", 4, range(4)))
    tried = [message.index for _, message in workers.sent if isinstance(message, Task)]
    assert tried.count(1) == 3
    assert all(tried.count(index) <= 1 for index in (0, 2, 3))


def test_a_lost_worker_is_replaced_and_no_finished_chunk_computed_again(inputs: Inputs) -> None:
    lost: list[int] = []

    def play(worker: int, task: Task) -> Any:
        if task.index == 2 and not lost:
            lost.append(worker)
            return Lost("gone")
        return done(worker, task)

    workers = Scripted(play)
    finished = dict(Pool(workers, 2).begin(Chunky(), inputs).map("a", 5, range(5)))
    assert sorted(finished) == [0, 1, 2, 3, 4]
    tried = [message.index for _, message in workers.sent if isinstance(message, Task)]
    assert sorted(tried) == [0, 1, 2, 2, 3, 4]


def test_the_driver_holds_as_many_replies_as_there_are_workers_whatever_the_number_of_chunks(
    inputs: Inputs,
) -> None:
    workers = Scripted(done)
    assert len(list(Pool(workers, 3).begin(Chunky(), inputs).map("a", 500, range(500)))) == 500
    assert workers.most <= 3
    assert workers.started == 3


def test_a_new_worker_gets_the_groups_that_are_finished_and_a_known_one_only_what_is_new(
    inputs: Inputs,
) -> None:
    workers = Scripted(done)
    run = Pool(workers, 1).begin(Chunky(), inputs)
    for group in range(3):
        list(run.map(f"group {group}", 2, range(2)))
        run.finish(lambda: [{}, {}])
    kinds = [type(message).__name__ for _, message in workers.sent]
    assert kinds == ["Load", "Start", *["Task"] * 2, *["Finished", "Task", "Task"] * 2]


def test_workers_of_another_version_are_refused_with_what_differs(inputs: Inputs) -> None:
    other = Hello("node-7", {**versions(), "torch": "1.0"}, code_digest())
    with pytest.raises(EngineError, match=r"workers on node-7 have torch 1\.0 instead of .*install the same"):
        list(Pool(Scripted(done, other), 1).begin(Chunky(), inputs).map("a", 1, [0]))
    other = Hello("node-7", versions(), "0" * 64)
    with pytest.raises(EngineError, match="workers on node-7 have different source code of probe"):
        list(Pool(Scripted(done, other), 1).begin(Chunky(), inputs).map("a", 1, [0]))


def test_workers_that_do_not_start_are_reported(inputs: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Scripted(done, Lost("exit code 1"))
    with pytest.raises(EngineError, match=r"workers exit during start-up \(exit code 1\)"):
        list(Pool(broken, 2).begin(Chunky(), inputs).map("a", 9, range(9)))
    assert broken.started <= 4
    monkeypatch.setattr(pools, "_PATIENCE", 0.0)
    silent = Scripted(done)
    silent.start = lambda: 1  # pyrefly: ignore[bad-assignment]
    with pytest.raises(EngineError, match="no worker has started"):
        list(Pool(silent, 1).begin(Chunky(), inputs).map("a", 1, [0]))


def test_leaving_the_loop_ends_the_workers(inputs: Inputs) -> None:
    workers = Scripted(done)
    run = Pool(workers, 2).begin(Chunky(), inputs)
    for _ in run.map("a", 10, range(10)):
        break
    assert workers.killed == 1


def test_failed_chunks_of_an_earlier_run_are_no_replies_to_the_next(inputs: Inputs) -> None:
    def play(worker: int, task: Task) -> Any:
        return Failed(task, ValueError("no")) if task.run == 1 else done(worker, task)

    pool = Pool(Scripted(play), 2)
    with pytest.raises(ValueError, match="no"):
        list(pool.begin(Chunky(), inputs).map("a", 4, range(4)))
    assert len(list(pool.begin(Chunky(), inputs).map("a", 4, range(4)))) == 4


SCRIPT = """
import sys
from pathlib import Path
import probe
from tests.runs.chunky import Chunky
from tests.runs.thread_worker import ThreadWorker
from probe.reporting.recipes import Recipe
from probe.runs.engine import Engine
import probe.interrupts as interrupts
engine, count, seconds, out = sys.argv[1:]
interrupts.install()
recipe = Recipe("chunky", (Chunky(count=int(count), seconds=float(seconds)),))
workers = Engine(name="local", workers=1) if engine == "plain" else Engine(name=engine, workers=2)
with interrupts.raised():
    try:
        print(probe.report(probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=8), recipe,
            out=out, workers=workers).page, flush=True)
    except KeyboardInterrupt as stop:
        sys.exit(interrupts.exit_code(stop))
"""


def begin_script(
    engine: str, out: Path, count: int = 6, seconds: float = 0.5, stderr: int | None = None
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SCRIPT, engine, str(count), str(seconds), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)


def finish_script(engine: str, out: Path, **options: Any) -> dict[str, bytes]:
    """The files of the result of a script that runs to its end."""
    process = begin_script(engine, out, **options)
    page, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    files = contents(Path(page.strip()).parent / "chunky")
    del files["key.json"]  # depends on the time that a chunk takes
    return files


@pytest.fixture(scope="session")
def plain_script(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the result of the script by the plain loop."""
    return finish_script("plain", tmp_path_factory.mktemp("plain"), seconds=0)


def wait_for_chunks(out: Path, count: int = 2) -> list[Path]:
    end = time.monotonic() + 120
    while time.monotonic() < end:
        if len(found := sorted(out.glob("*/.chunks-chunky/*.npz"))) >= count:
            return found
        time.sleep(0.02)
    raise AssertionError("no chunks were stored")


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return [int(pid) for pid in children]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up processes in /proc")
@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_stopped_takes_its_workers_along_and_continues(
    stop: signal.Signals, plain_script: dict[str, bytes], tmp_path: Path
) -> None:
    process = begin_script("processes", tmp_path / "out")
    kept = {path: path.read_bytes() for path in wait_for_chunks(tmp_path / "out")}
    workers = workers_of(process)
    assert len(workers) == 2
    started = time.monotonic()
    os.kill(process.pid, stop)
    while any(map(alive, workers)):
        assert time.monotonic() - started < 1, "workers outlive their driver by more than a second"
        time.sleep(0.01)
    process.communicate(timeout=60)
    assert process.returncode == (-stop if stop is signal.SIGKILL else 128 + stop)
    assert all(path.read_bytes() == content for path, content in kept.items())
    again = finish_script("processes", tmp_path / "out")
    assert again == plain_script


@pytest.mark.slow
@pytest.mark.parametrize("analysis", ["robustness", "surface", "curvature", "attribution-tests", "invert"])
def test_an_analysis_on_workers_has_the_bytes_of_the_plain_loop(
    analysis: str, pool: Pool, tmp_path: Path
) -> None:
    from probe.analyses import find
    from probe.runs.execute import make_analysis

    model = probe.load("lenet5-digits", device="cpu")
    inputs = Inputs(model, prepare(model, probe.images("digits:test", n=24)))
    chosen = make_analysis(analysis, **find(analysis).quick)
    with single_thread():
        for name, workers in (("plain", None), ("workers", pool)):
            run_or_load(chosen, inputs, RunDirectory(tmp_path / name), folder="result", pool=workers)
    assert contents(tmp_path / "plain/result") == contents(tmp_path / "workers/result")


@pytest.mark.slow
def test_a_second_driver_on_the_same_run_folder_is_refused_and_costs_the_first_no_byte(
    plain_script: dict[str, bytes], tmp_path: Path
) -> None:
    first = begin_script("processes", tmp_path / "out", seconds=1)
    wait_for_chunks(tmp_path / "out")
    second = begin_script("processes", tmp_path / "out", seconds=1, stderr=subprocess.PIPE)
    _, message = second.communicate(timeout=60)
    assert second.returncode == 1
    assert "UserError: another process is writing to" in message
    page, _ = first.communicate(timeout=60)
    files = contents(Path(page.strip()).parent / "chunky")
    del files["key.json"]
    assert files == plain_script


def test_progress_counts_the_chunks_of_all_workers(inputs: Inputs, tmp_path: Path) -> None:
    lines: list[str] = []

    class Spy(LineDisplay):
        def advance(self, loop: int) -> None:
            super().advance(loop)
            lines.append(self.line())

    display = Spy()
    display.section("chunky")
    from probe.runs.job import RunJob

    job = RunJob(
        0,
        display=display,
        store=RunDirectory(tmp_path).chunks("a", "key"),
        pool=Pool(Scripted(done), 3).begin(Chunky(), inputs),
    )
    chunks = job.chunks("a", range(4), lambda item, rng: {})
    assert [int(chunk["index"][0]) for chunk in chunks] == [0, 1, 2, 3]
    assert lines[-1].startswith("chunky: a 4 of 4")
