"""Tests of `style`: pictures as files of any size and kind, files that are written, what is refused."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from probe.analyses.synthesis import style_exhibits as captions
from probe.analyses.synthesis.style import StyleTransfer
from probe.data.images import no_images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.result import Result
from probe.methods.synthesis.style import Transferred
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob


def run(model: Model, **options: object) -> Result:
    result = StyleTransfer(**{"steps": 4, "scales": 1, **options}).run(
        model, no_images(model.shape), RunJob(3)
    )  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    draw = torch.Generator().manual_seed(0)
    colour = torch.randint(0, 256, (4, 5, 3), generator=draw, dtype=torch.uint8)
    Image.fromarray(colour.numpy()).resize((52, 40)).save(tmp_path / "photo.png")
    grey = torch.randint(0, 256, (70, 30), generator=draw, dtype=torch.uint8)
    Image.fromarray(grey.numpy()).save(tmp_path / "painting.png")
    return str(tmp_path / "photo.png"), str(tmp_path / "painting.png")


def test_pictures_of_different_size_and_kind_are_combined_and_written(
    convnet: Model, files: tuple[str, str], tmp_path: Path
):
    photo, painting = files
    saved, animation = tmp_path / "result.png", tmp_path / "steps.webp"
    result = run(
        convnet, content=photo, style=(painting,), steps=15, scales=2, save=saved, animation=animation
    )
    assert result.numbers["style_left"].value < 0.5
    with Image.open(saved) as written:
        assert written.size == (52, 40)
    with Image.open(animation) as written:
        assert written.n_frames > 5  # type: ignore[attr-defined]
    grid = result.exhibits[0]
    assert isinstance(grid, ImageGrid)
    assert grid.labels == ["result", "photo.png", "painting.png"]


def test_styles_masks_colours_and_noise(convnet: Model, files: tuple[str, str], tmp_path: Path):
    photo, painting = files
    Image.new("L", (10, 10), 255).save(tmp_path / "mask.png")
    mask = str(tmp_path / "mask.png")
    result = run(
        convnet,
        content=photo,
        style=(painting, "flower.jpg"),
        style_mix=(3, 1),
        masks=(mask, mask),
        keep_colours=True,
        start="noise",
    )
    assert "from noise" in result.exhibits[0].caption
    assert "the colours are those of the content" in result.exhibits[0].caption
    assert StyleTransfer(content=photo, style=(painting,), masks=(mask,)).reads() == (photo, painting, mask)


def test_the_content_appears_in_noise():
    """A start from the content keeps it under any weights; from noise it has to be found."""
    model, sizes = load("vgg-shapes", device="cpu"), {"size": 96, "content": "china.jpg"}
    usual = run(model, steps=0, start="noise", style=("flower.jpg",), **sizes)
    assert "after 200 steps" in usual.exhibits[0].caption
    heavy = run(model, steps=0, start="noise", style=("flower.jpg",), style_weight=50, **sizes)
    assert usual.numbers["content_error"].value < 0.5 * heavy.numbers["content_error"].value
    assert usual.numbers["style_left"].value < 0.4


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"style_mix": (1, 2)}, "--style-mix has 2 weights for 1 styles"),
        ({"style_mix": (0,)}, "one at least is above 0"),
        ({"masks": ("a.png", "b.png")}, "--masks has 2 pictures for 1 styles"),
        ({"style": ("no.jpg",)}, "no.jpg cannot be read"),
        ({"style_layers": ("9",)}, "9 is flat, but style needs a layer with maps"),
        ({"size": 18}, "--size 18 leaves"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(convnet: Model, options: dict[str, object], reason: str):
    with pytest.raises(UserError, match=reason) as error:
        run(convnet, **options)
    assert "\n" not in str(error.value)


def test_captions_and_warnings_state_what_is_left():
    findings = captions.Findings(
        "photo.jpg", ["art.jpg"], (300, 400), (600, 800), ["c"], ["a", "b"], 60, [(150, 200), (300, 400)],
        paper=False, start="content", keep_colours=False, style_weight=50, diverged=False,
    )  # fmt: skip
    part = Transferred(
        torch.zeros(1, 3, 4, 4), torch.ones(3), {"c": (0.0, 2.0)}, {"a": (1.0, 0.7), "b": (0.5, 0.4)}, False
    )
    assert captions.style_left([part]) == pytest.approx(0.75)
    text = captions.caption(findings, 2.0, 0.75)
    assert (
        "photo.jpg at 400 x 300 pixels (of 800 x 600) in the style of art.jpg, after 60 steps at 2 sizes from the content"
        in text
    )
    assert (
        "The style loss is 75% of that of the content picture. The content loss is 2.00, relative to the squared"
        in text
    )
    left, lost = captions.warnings(findings, [part])
    assert left.startswith("75% of the style loss is left")
    assert "a smaller --style-weight than 50" in lost
