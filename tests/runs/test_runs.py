"""Run directories: complete or absent, resumed by key, the same bytes after a kill."""

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import probe
import probe.runs.store
from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Table
from probe.exhibits.result import Number, Result
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare, result_key, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.job import RunJob, generator
from probe.runs.store import RunDirectory


class Sums(Analysis):
    """Are chunks stored?"""

    name = "sums"
    title = "Sums of random numbers"

    def run(self, model: Model, images: Images, job: RunJob) -> Result:  # pyrefly: ignore[bad-override]
        def chunk(item: int, rng: torch.Generator) -> dict[str, np.ndarray]:
            calls.append(item)
            if stop_at and item == stop_at[0]:
                stop_at.clear()
                raise KeyboardInterrupt
            return {"sum": torch.rand(3, generator=rng).numpy()}

        sums = [float(part["sum"].sum()) for part in job.chunks("sum", range(5), chunk)]
        table = Table(title="Sums", caption="Five sums.", columns=["sum"], rows=[[value] for value in sums])
        return Result(exhibits=[table], numbers={"sum": Number(value=sum(sums))})


calls: list[int] = []
stop_at: list[int] = []


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_an_interrupted_run_continues_after_its_last_chunk_and_gives_the_same_bytes(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    calls.clear()
    whole = RunDirectory(tmp_path / "whole")
    run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), whole, folder="sums")
    assert calls == [0, 1, 2, 3, 4]

    calls.clear()
    stop_at.append(3)
    broken = RunDirectory(tmp_path / "broken")
    with pytest.raises(KeyboardInterrupt):
        run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), broken, folder="sums")
    assert not (broken.path / "sums").exists()
    _, reused = run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), broken, folder="sums")
    assert calls == [0, 1, 2, 3, 3, 4]
    assert not reused
    assert bytes_of(broken.path) == bytes_of(whole.path)


def test_a_run_that_continues_with_other_batches_loads_no_old_chunks(tmp_path: Path) -> None:
    """On CUDA the size of a batch follows the memory that is free."""
    directory = RunDirectory(tmp_path)

    def rows(size: int, stop: int) -> list[int]:
        def row_numbers(part: torch.Tensor, _: torch.Generator) -> dict[str, np.ndarray]:
            if int(part[0]) >= stop:
                raise KeyboardInterrupt
            return {"rows": part.numpy()}

        chunks = RunJob(0, store=directory.chunks("all", "key")).chunks(
            "part", torch.arange(8).split(size), row_numbers
        )
        return np.concatenate([chunk["rows"] for chunk in chunks]).tolist()

    with pytest.raises(KeyboardInterrupt):
        rows(4, stop=4)
    assert rows(2, stop=8) == list(range(8))


def test_a_stored_result_is_reused_for_the_same_key_alone(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    directory = RunDirectory(tmp_path)
    first, reused = run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), directory, folder="sums")
    assert not reused
    again, reused = run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), directory, folder="sums")
    assert reused
    assert again == first
    other, reused = run_or_load(Sums(), Inputs(convnet, noise_images, seed=4), directory, folder="sums")
    assert not reused
    assert other != first


def test_a_damaged_result_is_computed_again(convnet: Model, noise_images: Images, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path)
    first, _ = run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), directory, folder="sums")
    (tmp_path / "sums" / "result.json").write_text("{")
    again, reused = run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), directory, folder="sums")
    assert (again, reused) == (first, False)


def test_a_result_that_does_not_fit_on_the_disk_leaves_no_files(
    convnet: Model, noise_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Result, folder: Path) -> None:
        (folder / "arrays.npz").write_bytes(b"the beginning")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(probe.runs.store, "save", full)
    with pytest.raises(OSError, match="No space left"):
        run_or_load(Sums(), Inputs(convnet, noise_images, seed=3), RunDirectory(tmp_path), folder="sums")
    assert not list(tmp_path.glob(".part*"))


def test_the_key_depends_on_everything_that_determines_a_result(convnet: Model, noise_images: Images) -> None:
    def of(analysis: Analysis = make_analysis("fgsm"), images: Images = noise_images, seed: int = 0) -> str:  # noqa: B008
        return result_key(analysis, Inputs(convnet, images, seed))

    changed = [
        of(make_analysis("fgsm", eps="4/255")),
        of(images=noise_images.take(20)),
        of(seed=1),
        result_key(make_analysis("fgsm"), Inputs(convnet.double(), noise_images)),
        result_key(make_analysis("fgsm"), Inputs(convnet, noise_images, compare_to=(convnet,))),
    ]
    assert of() == of()
    assert len({of(), *changed}) == len(changed) + 1


def test_random_numbers_depend_on_the_seed_and_the_chunk_alone() -> None:
    torch.manual_seed(1)
    numbers = torch.rand(4, generator=generator(7, "a", 0))
    torch.manual_seed(2)
    assert torch.equal(numbers, torch.rand(4, generator=generator(7, "a", 0)))
    assert not torch.equal(numbers, torch.rand(4, generator=generator(7, "a", 1)))


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")],
)
def test_too_little_memory_is_one_line(error: Exception, convnet: Model, noise_images: Images) -> None:
    class Large(Analysis):
        """Does it fit?"""

        name = "large"
        title = "Large"

        def run(self, model: Model, images: Images, job: RunJob) -> Result:  # pyrefly: ignore[bad-override]
            raise error

    with pytest.raises(UserError, match="large ran out of memory"):
        execute(Large(), convnet, noise_images, RunJob(0))


def test_needs_are_checked_before_anything_runs(convnet: Model, noise_images: Images) -> None:
    class Labelled(Sums):
        needs_labels = True

    class Masked(Sums):
        needs_masks = True

    class Compared(Sums):
        needs_compare_to = 1

    class Many(Sums):
        needs_images = 50

    bare = Images.from_tensor(noise_images.pixels())
    for kind, message in (
        (Labelled, "has no labels"),
        (Masked, "masks"),
        (Compared, "--compare-to"),
        (Many, "at least 50 images"),
    ):
        with pytest.raises(UserError, match=message):
            execute(kind(), convnet, prepare(convnet, bare), RunJob(0))


def test_images_of_another_size_are_preprocessed_with_a_note(convnet: Model) -> None:
    images = prepare(
        convnet, Images.from_tensor(torch.rand(3, 1, 20, 30), [0, 1, 2], classes=convnet.classes)
    )
    assert images.shape == convnet.shape
    assert any("32" in note for note in images.notes)


@pytest.mark.slow
def test_a_killed_report_started_again_gives_the_same_bytes(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'title = "Killed"\n[[analysis]]\nname = "filters"\n[[analysis]]\nname = "fgsm"\neps_steps = 40\n'
        '[[analysis]]\nname = "classify"\n'
    )
    command = [sys.executable, "-m", "probe", "report", "--recipe", str(recipe), "--device", "cpu"]
    command += ["--model", "lenet5-digits", "--data", "digits"]
    environment = os.environ | {"PYTHONPATH": str(Path(probe.__file__).parents[1])}

    def run(out: str, kill_at: str = "") -> Path | None:
        process = subprocess.Popen(
            [*command, "--out", out], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        while kill_at and process.poll() is None:
            if list((tmp_path / out).glob(f"*/{kill_at}")):
                process.send_signal(signal.SIGKILL)
            time.sleep(0.01)
        process.communicate()
        if kill_at:
            assert process.returncode == -signal.SIGKILL
            return None
        assert process.returncode == 0
        return next((tmp_path / out).iterdir())

    run("broken", kill_at="filters")
    broken, whole = run("broken"), run("whole")
    assert broken is not None
    assert whole is not None
    one, two = bytes_of(broken), bytes_of(whole)
    assert set(one) == set(two)
    timed = {"run.json", "report.json", "report.html"}  # these say when, and how long it took
    assert {n: c for n, c in one.items() if n not in timed} == {
        n: c for n, c in two.items() if n not in timed
    }


def test_an_analysis_computes_without_tf32_and_restores_the_setting(
    convnet: Model, noise_images: Images
) -> None:
    cudnn, seen = torch.backends.cudnn, []

    class Asks(Sums):
        def run(self, model, images, job):
            seen.append((cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic))
            return super().run(model, images, job)

    before = (cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic)
    execute(Asks(), convnet, noise_images, RunJob(0))
    assert seen == [(True, False, True)]
    assert (cudnn.enabled, cudnn.allow_tf32, cudnn.deterministic) == before
