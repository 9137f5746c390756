"""Engines: worker processes give the bytes of the plain loop, whatever happens to them."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import probe
from probe.analyses import find
from probe.data.images import Images
from probe.errors import UserError
from probe.model.model import Model
from probe.runs.engine import Engine
from probe.runs.execute import make_analysis, prepare, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.pool import EngineError, Pool
from probe.runs.processes import ProcessWorkers
from probe.runs.store import RunDirectory
from probe.runs.threads import single_thread
from tests.runs.chunky import Chunky
from tests.runs.drivers import contents, stored
from tests.runs.thread_worker import ThreadWorker


@pytest.mark.parametrize(
    ("cores", "workers", "decoders"), [(384, 1, 16), (16, 4, 4), (16, 16, 1), (8, 16, 0)]
)
def test_workers_of_cuda_devices_share_the_cores_for_decoding_images(
    monkeypatch: pytest.MonkeyPatch, cores: int, workers: int, decoders: int
) -> None:
    """Each started a process for every core of its device: 64 on 16 cores, and more than are accepted on 384."""
    monkeypatch.delenv("PROBE_DECODERS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr("probe.runs.processes.usable_cores", lambda: cores)
    assert ProcessWorkers(workers, cuda=True)._environment()["PROBE_DECODERS"] == str(decoders)
    assert ProcessWorkers(workers, cuda=False)._environment()["PROBE_DECODERS"] == "0"


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with Engine(name="processes", workers=2).open(cuda=False) as opened:
        assert opened is not None
        yield opened


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


@pytest.mark.slow
@pytest.mark.parametrize("analysis", ["robustness", "surface", "curvature", "attribution-tests", "invert"])
def test_an_analysis_on_workers_has_the_bytes_of_the_plain_loop(
    analysis: str, pool: Pool, tmp_path: Path
) -> None:
    model = probe.load("lenet5-digits", device="cpu")
    inputs = Inputs(model, prepare(model, probe.images("digits:test", n=24)))
    chosen = make_analysis(analysis, **find(analysis).quick)
    with single_thread():
        for name, workers in (("plain", None), ("workers", pool)):
            run_or_load(chosen, inputs, RunDirectory(tmp_path / name), folder="result", pool=workers)
    assert contents(tmp_path / "plain/result") == contents(tmp_path / "workers/result")
