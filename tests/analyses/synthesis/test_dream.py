"""Tests of `dream`: any picture, without a data set; files; what is refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from probe.analyses.synthesis import dream_exhibits as captions
from probe.analyses.synthesis.dream import Dream
from probe.data.images import no_images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.result import Result
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of

FEW = {"octaves": 2, "steps": 3}


def run(model: Model, **options: object) -> Result:
    result = Dream(**{**FEW, **options}).run(model, no_images(model.shape), RunJob(3))  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result


@pytest.fixture
def photo(tmp_path: Path) -> str:
    pixels = torch.randint(0, 256, (44, 60, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_a_picture_of_any_size_is_dreamed_on_and_written_at_its_size(
    convnet: Model, photo: str, tmp_path: Path
):
    saved, animation = tmp_path / "dream.png", tmp_path / "dream.webp"
    result = run(convnet, image=photo, save=saved, animation=animation, zoom_frames=3)
    assert result.numbers["response_gain"].value > 1.05
    with Image.open(saved) as written:
        assert written.size == (60, 44)
    with Image.open(animation) as written:
        assert written.n_frames == 3  # type: ignore[attr-defined]
    grid = result.exhibits[0]
    assert isinstance(grid, ImageGrid)
    assert grid.images[0].shape == grid.images[1].shape == (44, 60, 3)
    assert run(convnet, image=photo, animation=tmp_path / "steps.gif")
    assert Dream(image=photo, save=saved).writes() == (saved,)


def test_without_a_picture_or_data_it_is_china(convnet: Model):
    grid = run(convnet, size=48, octaves=1, steps=1).exhibits[0]
    assert isinstance(grid, ImageGrid)
    assert grid.labels == ["china.jpg", "dream"]


def test_a_guide_and_single_channels(convnet: Model, photo: str):
    guided = run(convnet, image=photo, guide="flower.jpg")
    assert "which move the response of 5 towards the features of flower.jpg" in guided.exhibits[0].caption
    guided = run(convnet, image=photo, guide=photo)
    assert f"towards the features of {Path(photo).name}." in guided.exhibits[0].caption
    one = run(convnet, image=photo, layers=("4:3",))
    assert one.exhibits[0].title == "DeepDream of 4:3"
    assert one.numbers["response_gain"].value > 1.05


def test_a_small_picture_is_enlarged_to_what_the_network_needs(convnet: Model, tmp_path: Path):
    Image.new("L", (5, 8), 90).save(tmp_path / "tiny.png")
    grid = run(convnet, image=str(tmp_path / "tiny.png")).exhibits[0]
    assert "tiny.png at 16 x 26 pixels (of 5 x 8)" in grid.caption


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layers": ("9",)}, "9 is flat, but dream needs a layer with maps: 7 is the last"),
        ({"layers": ("4:0:1,1",)}, "responds over the whole picture: write 4:0"),
        ({"layers": ("44",)}, "no layer '44'"),
        ({"image": "no.jpg"}, r"no.jpg cannot be read: No such file"),
        ({"save": Path("x.tiff")}, r"x.tiff: the name of the file must end in .png"),
        ({"animation": Path("no/x.gif")}, "no/x.gif: there is no folder no"),
        ({"image": "china.jpg", "size": 20}, "--size 20 leaves 13 pixels for the shorter side"),
    ],
)
def test_what_cannot_be_dreamed_on_is_refused_in_one_line(
    convnet: Model, options: dict[str, object], reason: str
):
    with pytest.raises(UserError, match=reason) as error:
        run(convnet, **options)
    assert "\n" not in str(error.value)


def test_a_layer_that_does_not_respond_is_reported(photo: str):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        dead = nn.Conv2d(3, 4, 3)
    dead.bias = nn.Parameter(torch.full((4,), -100.0))
    network = nn.Sequential(dead, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    (warning,) = run(model_of(network, (3, 32, 32), 2), image=photo).warnings
    assert "1 does not respond to this picture at all" in warning


FINDINGS = captions.Findings(
    "photo.jpg", (300, 400), (600, 800), ["a", "b"], "", 4, 10, 2.0, 9.0, 0.05, diverged=False, tiles=False
)


def test_captions_state_sizes_gain_and_change():
    text = captions.caption(FINDINGS)
    assert (
        "photo.jpg at 400 x 300 pixels (of 800 x 600), and the same picture after 10 steps at 4 sizes, which amplify the "
        "response of a and b." in text
    )
    assert (
        "The response is 4.50 times as large as for the picture; the mean change of a pixel is 12.8 of 255"
        in text
    )
    assert not captions.warnings(FINDINGS)
    (little,) = captions.warnings(replace(FINDINGS, after=2.01))
    assert "hardly grown (1.00 times)" in little
    (diverged,) = captions.warnings(replace(FINDINGS, diverged=True))
    assert "A smaller --step may help" in diverged
