"""What cannot be trained is refused in one line, before anything is written."""

import pytest

from probe.errors import UserError
from probe.training.config import TrainingConfig
from tests.training.quick import QUICK, folder, train


@pytest.mark.parametrize(
    ("arch", "data", "words"),
    [
        ("lenet6", "digits", "no architecture 'lenet6'. Did you mean lenet5"),
        ("lenet5", "digit", "no data source 'digit'. Did you mean digits"),
        ("lenet5", "digits:train", "uses both splits of a data set: write --data digits"),
        ("lenet5", "photos", "photos has no classes to train on"),
        ("text-convnet", "digits", "text-convnet classifies text, and probe has no texts"),
        ("torchvision:resnet5", "digits", "no torchvision network 'resnet5'. Did you mean resnet50"),
        ("zfnet", "digits", "zfnet cannot take 1 x 20 x 20 images"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(tmp_path, arch, data, words):
    config = TrainingConfig(size=20) if arch == "zfnet" else QUICK
    with pytest.raises(UserError, match=words) as refusal:
        train(tmp_path / "out", config, arch=arch, data=data)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"cat": 5}, r"has one class \(cat\): training needs at least two"),
        ({"cat": 5, "dog": 1}, "class dog of .* has one image: training needs at least 2 of each"),
        (
            {"cat": 5, "dog": 5, "cow": 0},
            "class cow of .* has no image that can be read: add some, or remove",
        ),
    ],
)
def test_a_folder_with_too_few_classes_or_images_is_refused(tmp_path, counts, words):
    with pytest.raises(UserError, match=words):
        train(tmp_path / "out", data=folder(tmp_path / "data", counts))


def test_test_images_of_other_classes_are_refused(tmp_path):
    folder(tmp_path / "data" / "train", {"cat": 4, "dog": 4})
    folder(tmp_path / "data" / "test", {"cat": 2, "cow": 2})
    with pytest.raises(UserError, match="cow, dog are not in both"):
        train(tmp_path / "out", data=f"folder:{tmp_path / 'data'}")
