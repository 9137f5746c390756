"""Ctrl-C during an optimisation keeps the pictures of that moment, and does not store them as a result."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from probe.data.images import Images
from probe.errors import Interrupted, partial_result
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.result import Result
from probe.interrupts import Terminated
from probe.methods.synthesis.objectives import Channel
from probe.methods.synthesis.optimise import Schedule, optimise
from probe.methods.synthesis.parametrisation import Fourier
from probe.model.model import Model
from probe.reporting.report import report
from probe.reporting.stored import read_report
from probe.runs.execute import execute, make_analysis, prepare, run
from probe.runs.job import RunJob


class StoppedJob(RunJob):
    """Raises a signal in the middle of the `after`-th step of all its loops over steps."""

    def __init__(self, after: int, stop: type[KeyboardInterrupt] = KeyboardInterrupt) -> None:
        super().__init__(3)
        self.after, self.stop = after, stop

    def progress(self, items: Iterable[Any], what: str, total: int | None = None) -> Iterator[Any]:
        for item in items:
            if isinstance(item, int):
                self.after -= 1
                if self.after < 0:
                    raise self.stop
            yield item


@pytest.fixture
def photo(tmp_path: Path) -> str:
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (48, 64, 3), dtype=torch.uint8, generator=draw)
    Image.fromarray(pixels.numpy()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def stopped(name: str, model: Model, images: Images, after: int, **parameters: Any) -> Result:
    """What there is of the result of an analysis that is stopped before its step `after`."""
    with pytest.raises(KeyboardInterrupt) as error:
        execute(make_analysis(name, **parameters), model, prepare(model, images), StoppedJob(after))
    return partial_result(error.value)


def test_the_pictures_of_a_stopped_optimisation_are_those_of_as_many_steps(convnet: Model) -> None:
    def through(steps: int, after: int) -> Any:
        job = StoppedJob(after)
        return optimise(
            convnet,
            Channel("3", torch.arange(3)),
            Fourier(convnet.shape),
            Schedule(steps),
            start=[1, 2, 3],
            progress=lambda each: job.progress(each, "steps"),
        )

    cut, short = through(20, 6), through(6, 100)
    assert isinstance(cut.stopped, KeyboardInterrupt)
    assert short.stopped is None
    assert torch.equal(cut.pixels, short.pixels)
    assert torch.equal(cut.history, short.history)


def test_before_the_first_step_there_is_nothing_to_show(convnet: Model, noise_images: Images) -> None:
    assert stopped("maximise", convnet, noise_images, 0, steps=5) is None


def test_maximise_shows_the_images_of_the_moment(convnet: Model, noise_images: Images) -> None:
    result = stopped("maximise", convnet, noise_images, 4, steps=9, n_units=3)
    assert len(result.exhibits[0].images) == 3
    assert "in 4 steps" in result.exhibits[0].caption
    assert result.warnings[0].startswith("Interrupted after 4 steps of 9")


def test_of_several_batches_the_finished_ones_and_the_stopped_one_are_shown(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "batch", lambda *_, **__: 2)
    result = stopped("maximise", convnet, noise_images, 8, steps=5, n_units=6)
    assert len(result.exhibits[0].images) == 4


def test_dream_keeps_the_picture_at_its_size_and_writes_it(
    convnet: Model, noise_images: Images, photo: str, tmp_path: Path
) -> None:
    saved = tmp_path / "dream.png"
    result = stopped("dream", convnet, noise_images, 3, image=photo, octaves=2, steps=2, save=saved)
    assert result.warnings[0].startswith("Interrupted after 2 octaves of 2")
    with Image.open(saved) as written:
        assert written.size == (64, 48)
    early = stopped("dream", convnet, noise_images, 1, image=photo, octaves=2, steps=2, save=saved)
    assert early.exhibits[0].images[1].shape == (48, 64, 3)


def test_style_keeps_the_picture_at_its_size(convnet: Model, noise_images: Images, photo: str) -> None:
    result = stopped("style", convnet, noise_images, 2, content=photo, style=photo, steps=4, scales=2)
    grids = [e for e in result.exhibits if isinstance(e, ImageGrid)]
    assert all(len({image.shape for image in grid.images[:1]}) == 1 for grid in grids)
    assert "2 steps of 4 at size 1 of" in result.warnings[0]


def test_invert_shows_the_layers_up_to_the_one_in_which_it_was_stopped(
    convnet: Model, noise_images: Images
) -> None:
    result = stopped("invert", convnet, noise_images, 7, layers="0,3,5", steps=5, max_images=2, restarts=1)
    assert result.warnings[0].startswith("Interrupted after 2 layers of 3")


def test_a_report_shows_it_without_storing_it_and_computes_it_again(
    convnet: Model, noise_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from probe.reporting.recipes import Recipe

    recipe = Recipe(title="One", analyses=[make_analysis("maximise", steps=6, n_units=2)], strict=True)
    original = RunJob.progress
    job = StoppedJob(3, Terminated)
    monkeypatch.setattr(RunJob, "progress", lambda self, *arguments: job.progress(*arguments))
    with pytest.raises(Terminated, match="with the partial result of maximise"):
        report(convnet, noise_images, recipe, out=tmp_path)
    (page,) = tmp_path.glob("*/report.html")
    assert "Interrupted after 3 steps of 6" in page.read_text()
    assert read_report(page.parent).sections[0].result is None
    monkeypatch.setattr(RunJob, "progress", original)
    finished = report(convnet, noise_images, recipe, out=tmp_path)
    assert not finished.reused
    assert "in 6 steps" in finished.results["maximise"].exhibits[0].caption


def test_in_python_the_exception_has_the_result(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = StoppedJob(2)
    monkeypatch.setattr(RunJob, "progress", lambda self, *arguments: job.progress(*arguments))
    with pytest.raises(Interrupted, match="the partial result is the attribute") as error:
        run("maximise", convnet, noise_images, steps=6, n_units=2)
    assert isinstance(error.value.result, Result)
