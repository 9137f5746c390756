"""Tests of `invert`: figures beside the pictures, flat layers, pictures as files, captions and warnings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.analyses.synthesis import invert_exhibits as captions
from probe.analyses.synthesis.invert import Invert
from probe.data.images import Images, no_images
from probe.data.sources import open_images
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid, Table
from probe.exhibits.result import Result
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import prepare
from probe.runs.job import RunJob


def run(model: Model, images: Images, **options: object) -> Result:
    result = Invert(**options).run(model, images, RunJob(3))  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result


def test_what_a_trained_network_has_thrown_away_grows_with_depth():
    model = load("vgg-shapes", device="cpu")
    images = prepare(model, open_images("shapes:test", n=10))
    result = run(
        model,
        images,
        max_images=2,
        restarts=1,
        layers=("features.2", "features.13", "features.23"),
        steps=120,
    )
    first, middle, last = (result.numbers[f"psnr_features_{layer}"].value for layer in (2, 13, 23))
    assert first > 25
    # From the middle on, the pixels are as far from the image as those of another: their order is chance.
    assert first > max(middle, last) + 10
    assert result.numbers["feature_error_features_2"].value < 0.05


def test_the_figures_are_those_of_the_pictures(convnet: Model, noise_images: Images):
    result = run(convnet, noise_images, max_images=2, restarts=1, layers=("4", "9"), steps=10)
    grid, table = result.exhibits[0], result.exhibits[-1]
    assert isinstance(grid, ImageGrid)
    assert isinstance(table, Table)
    assert grid.column_headers == ["image", "4", "9"]
    pixels = torch.from_numpy(np.stack(grid.images)).permute(0, 3, 1, 2)
    originals, inverted = pixels[[0, 3]], pixels[[1, 4]]
    wanted, reached = (convnet.features(each, "4")["4"] for each in (originals, inverted))
    error = (wanted - reached).square().sum((1, 2, 3)) / wanted.square().sum((1, 2, 3))
    assert table.rows[0][1] == pytest.approx(float(error.mean()), rel=1e-3)
    noise = (originals - inverted).square().mean((1, 2, 3))
    assert table.rows[0][2] == pytest.approx(float((-10 * noise.log10()).mean()), rel=1e-3)


def test_files_are_inverted_without_data(convnet: Model, tmp_path: Path):
    Image.new("RGBA", (50, 40), (200, 100, 0, 128)).save(tmp_path / "clear.png")
    images = no_images(convnet.shape)
    names = (str(tmp_path / "clear.png"), "flower.jpg")
    grid = run(convnet, images, image=names, layers=("4",), steps=2).exhibits[0]
    assert isinstance(grid, ImageGrid)
    assert grid.row_headers == ["clear.png", "flower.jpg"]
    assert run(convnet, images, layers=("4",), steps=2).exhibits[0].row_headers == ["china.jpg"]  # type: ignore[attr-defined]
    assert Invert(image=names).reads() == names


FINDINGS = captions.Findings(
    names=["cat", "dog"],
    layers=["a", "b"],
    kinds=["maps", "values"],
    steps=40,
    requested_steps=100,
    restarts=2,
    error=np.array([0.01, 0.6])[:, None, None] * np.ones((2, 2, 2)),
    psnr=np.array([35.0, 12.0])[:, None, None] * np.ones((2, 2, 2)),
    ssim=np.full((2, 2, 2), 0.5),
    agreement=np.array([True, False])[:, None, None] & np.ones((2, 2, 2), dtype=bool),
    spread=np.full((2, 2), 0.1),
    diverged=np.zeros((2, 2, 2), dtype=bool),
)


def test_captions_state_what_is_lost_and_warnings_what_was_not_reached():
    text = captions.caption(FINDINGS)
    assert (
        "The PSNR is 35.0 dB for a and 12.0 dB for b. In 0% of the cases, the network predicts the same class for the inversion"
        in text
    )
    assert "It decreases from a layer to the next deeper one in 1 of 1 case." in captions.caption_of_psnr(
        FINDINGS
    )
    assert "It is smallest for a (0.010) and largest for b (0.600)." in captions.caption_of_error(FINDINGS)
    poor, cut = captions.warnings(FINDINGS)
    assert poor.startswith("The features of b were not matched (error above 0.5)")
    assert cut.startswith("40 instead of 100 steps")
    diverged = replace(FINDINGS, diverged=np.ones((2, 2, 2), dtype=bool), steps=100, error=0 * FINDINGS.error)
    assert captions.warnings(diverged)[0].startswith("For some images the features became NaN")
