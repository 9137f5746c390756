"""What `probe adopt` prints: input, accuracy, and the hint at another normalisation or at the chance level."""

from pathlib import Path

import pytest
import torch

import probe
import probe.cli
from probe.cli.adoption import AdoptionFindings, accuracy_lines, measure_accuracy
from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.model.loading import load


def test_the_hint_names_a_normalisation_or_what_to_check() -> None:
    good, chance = AdoptionFindings("set", 90, 100, 10), AdoptionFindings("set", 12, 100, 10)
    assert accuracy_lines(good) == ["accuracy: 90.0% (82.6% to 94.5%) on 100 images of set"]
    assert accuracy_lines(chance)[1].startswith(
        "hint: that is near the chance level of 10.0%: check --mean, --std"
    )
    better = AdoptionFindings("set", 12, 100, 10, ("--mean 0 and --std 1", 0.8), 100)
    assert accuracy_lines(better)[1:] == [
        "hint: with --mean 0 and --std 1 it is 80.0% on 100 images: was it trained with these?"
    ]


def test_images_without_labels_have_no_accuracy() -> None:
    model = load("lenet5-digits", device="cpu")
    assert measure_accuracy(model, Images.from_tensor(torch.rand(3, *model.shape))) is None


def test_a_wrong_normalisation_is_seen_when_a_checkpoint_is_adopted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load("lenet5-digits", device="cpu")
    torch.save(model.network.state_dict(), tmp_path / "net.pth")
    own = model.card.input
    arguments = ["adopt", str(tmp_path / "net.pth"), "--arch", model.card.architecture, "--data", "digits"]
    right = ["--mean", str(own.mean[0]), "--std", str(own.std[0]), "--out", str(tmp_path / "right")]
    assert probe.cli.main([*arguments, *right]) == 0
    printed = capsys.readouterr().out
    assert "origin: adopted from net.pth; how it was trained is unknown\n" in printed
    assert f"preprocessing: {load(tmp_path / 'right').card.input.preprocess}\n" in printed
    hits = measure_accuracy(model, open_images("digits"))
    assert hits is not None
    assert accuracy_lines(hits)[0] in printed
    assert hits.hits / hits.n > 0.9
    assert "hint" not in printed
    assert (
        probe.cli.main([*arguments, "--mean", "0.9", "--std", "0.02", "--out", str(tmp_path / "wrong")]) == 0
    )
    assert "hint: " in capsys.readouterr().out


def test_adopt_takes_its_options_by_name(tmp_path: Path) -> None:
    model = load("lenet5-digits", device="cpu")
    torch.save(model.network.state_dict(), tmp_path / "net.pth")
    own = model.card.input
    adopted = probe.adopt(
        tmp_path / "net.pth", arch=model.card.architecture, mean=own.mean, std=own.std, out=tmp_path / "new"
    )
    pixels = torch.rand(2, *model.shape)
    assert torch.equal(adopted.logits(pixels), model.logits(pixels))
    with pytest.raises(UserError, match="adopt needs the folder to write"):
        probe.adopt(tmp_path / "net.pth", arch="zoo:lenet5")
    with pytest.raises(UserError, match=r"there is no parameter 'archi'\. Did you mean arch"):
        probe.adopt(tmp_path / "net.pth", archi="zoo:lenet5", out=tmp_path / "other")
