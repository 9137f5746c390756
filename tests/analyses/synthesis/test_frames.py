"""Animations of `maximise` and `invert`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from probe.data.images import Images
from probe.errors import UserError
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare, run
from probe.runs.job import RunJob
from probe.runs.store import ChunkStore


def frames(path: Path) -> list[np.ndarray]:
    with Image.open(path) as animation:
        return [np.array(frame.convert("RGB")) for frame in ImageSequence.Iterator(animation)]


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_maximise_animates_all_images_from_their_starts(
    convnet: Model, noise_images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    plain = run("maximise", convnet, noise_images, steps=6, n_units=4)
    monkeypatch.setattr(Model, "batch", lambda *_, **__: 3)
    path = tmp_path / f"steps.{suffix}"
    result = run("maximise", convnet, noise_images, steps=6, n_units=4, animation=path)
    shown = frames(path)
    assert len(shown) == 7, "one before each step, and the result"
    assert shown[0].shape == (2 * 96 + 3, 2 * 96 + 3, 3)
    first = (255 * result.exhibits[0].images[0]).repeat(3, 0).repeat(3, 1)
    if suffix == "webp":
        assert np.abs(shown[-1][:96, :96] - first).mean() < 8, "but for the compression"
    np.testing.assert_allclose(plain.exhibits[0].images[3], result.exhibits[0].images[3], atol=1e-5)


def test_invert_animates_a_row_for_each_layer_also_when_it_is_resumed(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    options = {"layers": "0,3,5", "steps": 4, "max_images": 2, "restarts": 2}
    analysis = make_analysis("invert", animation=tmp_path / "steps.gif", **options)
    store = ChunkStore(tmp_path / "chunks", "key")
    for _ in range(2):
        execute(analysis, convnet, prepare(convnet, noise_images), RunJob(0, store=store))
        shown = frames(tmp_path / "steps.gif")
        assert len(shown) == 5
        assert shown[0].shape == (3 * 96 + 2 * 3, 2 * 96 + 3, 3)


def test_other_endings_are_refused_before_anything_is_computed(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    for name in ("maximise", "invert"):
        with pytest.raises(UserError, match=r"must end in .gif, .webp"):
            run(name, convnet, noise_images, animation=tmp_path / "steps.mp4")
