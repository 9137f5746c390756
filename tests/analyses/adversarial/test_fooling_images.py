"""Tests of `fooling-images`: what the images reach, by the network itself; targets; captions."""

import numpy as np
import pytest
import torch

from probe.analyses.adversarial import fooling_images_exhibits as captions
from probe.analyses.adversarial.fooling_images import FoolingImages
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import ImageGrid
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import prepare
from probe.runs.job import RunJob


def test_the_network_is_as_certain_of_the_images_as_stated():
    model = load("lenet5-digits", device="cpu")
    images = prepare(model, open_images("digits:test", n=60))
    result = FoolingImages(targets="1,7", steps=150).run(model, images, RunJob(0, compare_to=[model]))
    for exhibit in result.exhibits:
        check(exhibit)
    grid = result.exhibits[1]
    assert isinstance(grid, ImageGrid)
    pixels = torch.from_numpy(np.stack(grid.images)).permute(0, 3, 1, 2)
    confidence = model.logits(pixels).softmax(1)[torch.arange(6), torch.tensor([1, 7] * 3)]
    assert [f"{value:.2f}" for value in confidence.tolist()] == grid.labels
    assert result.numbers["reached_from_an_image"].value == 1
    assert result.numbers["transferred_lenet5_digits"].value > 0.5


def test_targets_go_by_name_or_number(convnet: Model, noise_images: Images):
    result = FoolingImages(targets="class 3,5", steps=2).run(convnet, noise_images, RunJob(0))
    assert result.exhibits[1].column_headers == ["class 3", "class 5"]  # type: ignore[attr-defined]
    for wrong, reason in (("10", "there is no class 10"), ("clas 3", "no class 'clas 3'")):
        with pytest.raises(UserError, match=reason):
            FoolingImages(targets=wrong, steps=2).run(convnet, noise_images, RunJob(0))


def test_an_expensive_network_gets_fewer_targets_and_says_so(
    convnet: Model, noise_images: Images, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(FoolingImages, "_target_seconds", lambda *_: 20.0)
    result = FoolingImages(steps=2).run(convnet, noise_images, RunJob(0))
    assert len(result.exhibits[1].column_headers) == 2  # type: ignore[attr-defined]
    assert any(
        "2 instead of 5 target classes were tried, since each takes about 20 s" in line
        for line in result.warnings
    )
    named = FoolingImages(targets="1", steps=2).run(convnet, noise_images, RunJob(0))
    assert not any("instead of" in line for line in named.warnings)


def test_captions_state_what_is_reached_and_a_warning_what_is_not():
    findings = captions.Findings(
        own="cat",
        targets=["dog", "cat"],
        confidence=np.array([[0.99, 0.999], [0.99, 0.2], [0.995, 0.99]]),
        norms=np.array([1.5, 0.1]),
        wanted=0.99,
        steps=100,
        own_target=np.array([False, True]),
    )
    text = captions.caption(findings)
    assert "5 of 6 reach it. The median L2 change from the image to another class is 1.50." in text
    (warning,) = captions.warnings(findings)
    assert warning.startswith("Not every target was reached from noise:")
