"""Is it counted honestly who fools whom?"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Matrix, Table
from probe.exhibits.result import Result
from probe.model.model import Model
from probe.runs.execute import run
from tests.methods.adversarial.victims import (
    DEFECTS,
    defective,
    digits,
    fitted,
    fresh,
    linear,
    model_of,
    reader,
)

CLASSES = tuple(str(i) for i in range(10))


@pytest.fixture(scope="module")
def images() -> Images:
    pixels, labels = digits()
    return Images.from_tensor(pixels, labels, classes=CLASSES, name="digits")


@pytest.fixture(scope="module")
def other() -> Model:
    return model_of(fitted(fresh(), steps=120), (1, 8, 8), 10)


def matrix(result: Result, name: str) -> np.ndarray:
    (found,) = [e for e in result.exhibits if isinstance(e, Matrix) and e.title.startswith(name)]
    return found.values


def test_a_copy_of_a_network_is_fooled_by_exactly_what_fools_the_network(images: Images) -> None:
    twin = model_of(copy.deepcopy(reader().network), (1, 8, 8), 10)
    values = matrix(run("transferability", reader(), images, compare_to=[twin], eps=0.15, at_most=100), "PGD")
    assert np.ptp(values) == pytest.approx(0, abs=1e-6)
    assert values.max() > 0.3


def test_an_attack_fools_its_own_network_most_and_others_more_than_noise(
    images: Images, other: Model
) -> None:
    result = run("transferability", reader(), images, compare_to=[other], eps=0.2, at_most=150)
    pgd, noise = matrix(result, "PGD"), matrix(result, "Noise")
    assert (np.diag(pgd) >= pgd.max(0) - 1e-6).all()
    away = ~np.eye(2, dtype=bool)
    assert pgd[away].mean() > noise[away].mean() + 0.1
    assert result.numbers["PGD: fooled by another's attack"].value == pytest.approx(
        float(pgd[away].mean()), abs=1e-6
    )


def test_images_that_one_of_them_answers_wrongly_do_not_count(images: Images) -> None:
    ten = torch.zeros(10)
    ten[4] = 1
    constant = linear(torch.zeros(10, 64), ten, (1, 8, 8))
    result = run("transferability", reader(), images, compare_to=[constant], eps=0.1, at_most=100)
    table = next(e for e in result.exhibits if isinstance(e, Table))
    assert table.rows[1][2] == pytest.approx(0.1, abs=0.01)
    assert int(table.caption.split()[0]) <= 10
    assert matrix(result, "PGD")[:, 1].max() == 0


def test_a_network_that_sees_another_size_is_shown_resized_images(images: Images) -> None:
    larger = model_of(nn.Sequential(nn.AvgPool2d(2), copy.deepcopy(reader().network)), (1, 16, 16), 10)
    result = run("transferability", reader(), images, compare_to=[larger], eps=0.15, at_most=60)
    assert any("another size" in warning for warning in result.warnings)
    assert matrix(result, "PGD")[0, 1] > 0.2


def test_without_labels_the_first_networks_answers_are_used(other: Model) -> None:
    unlabelled = Images.from_tensor(digits()[0], classes=CLASSES)
    result = run("transferability", reader(), unlabelled, compare_to=[other], eps=0.1, at_most=40)
    assert any("no labels" in warning for warning in result.warnings)
    table = next(e for e in result.exhibits if isinstance(e, Table))
    assert table.rows[0][2] == 1


def test_alone_there_is_nothing_to_compare(images: Images) -> None:
    with pytest.raises(UserError, match="add --compare-to NAME"):
        run("transferability", reader(), images)


def test_networks_that_agree_on_no_image_are_refused(images: Images) -> None:
    nines = images.select((digits()[1] == 9).nonzero()[:, 0])
    constant = linear(torch.zeros(10, 64), torch.eye(10)[0], (1, 8, 8))
    with pytest.raises(UserError, match="nothing can transfer"):
        run("transferability", reader(), nines, compare_to=[constant])


@pytest.mark.parametrize(("layer", "before", "sign"), DEFECTS)
def test_a_network_that_only_seems_robust_is_warned_of(
    images: Images, layer: nn.Module, before: bool, sign: str
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        result = run(
            "transferability",
            defective(layer, before=before),
            images,
            compare_to=[reader()],
            eps=0.1,
            steps=3,
            at_most=40,
        )
    assert any(sign in warning for warning in result.warnings)
