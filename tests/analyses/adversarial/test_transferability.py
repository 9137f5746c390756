"""Transfer rates are counted on images that all models classify correctly, and noise is beside them."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.adversarial.transferability import affordable_images
from probe.analyses.adversarial.transferability_exhibits import (
    TransferFindings,
    model_table,
    transfer_caption,
)
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Matrix, Table
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.gradient_attacks import FGSM, MIFGSM
from probe.methods.adversarial.transfer import views
from probe.model.budget import forward_seconds
from probe.model.model import Model
from probe.runs.execute import run
from tests.methods.adversarial.victims import (
    DEFECTS,
    defective,
    digit_images,
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
    return digit_images()


@pytest.fixture(scope="module")
def other() -> Model:
    return model_of(fitted(fresh(), steps=120), (1, 8, 8), 10)


def matrix(result: Result, name: str) -> np.ndarray:
    (exhibit,) = [e for e in result.exhibits if isinstance(e, Matrix) and e.title.startswith(name)]
    return exhibit.values


def test_what_fools_a_model_fools_its_copy_alike(images: Images) -> None:
    twin = model_of(copy.deepcopy(reader().network), (1, 8, 8), 10)
    values = matrix(
        run("transferability", reader(), images, compare_to=[twin], eps=0.15, max_images=100), "PGD"
    )
    assert np.ptp(values) == pytest.approx(0, abs=1e-6)
    assert values.max() > 0.3


def test_an_attack_fools_its_own_model_most_and_others_more_than_noise(images: Images, other: Model) -> None:
    result = run("transferability", reader(), images, compare_to=[other], eps=0.2, max_images=150)
    pgd, noise = matrix(result, "PGD"), matrix(result, "Noise")
    assert (np.diag(pgd) >= pgd.max(0) - 1e-6).all()
    away = ~np.eye(2, dtype=bool)
    assert pgd[away].mean() > noise[away].mean() + 0.1
    assert result.numbers["transfer_rate_pgd"].value == pytest.approx(float(pgd[away].mean()), abs=1e-6)
    assert list(result.numbers) == ["transfer_rate_fgsm", "transfer_rate_pgd"]


def test_images_that_one_model_misclassifies_do_not_count(images: Images) -> None:
    ten = torch.zeros(10)
    ten[4] = 1
    constant = linear(torch.zeros(10, 64), ten, (1, 8, 8))
    result = run("transferability", reader(), images, compare_to=[constant], eps=0.1, max_images=100)
    table = next(e for e in result.exhibits if isinstance(e, Table))
    assert table.rows[1][2] == pytest.approx(0.1, abs=0.01)
    assert table.facts["correct_by_all"] <= 10
    assert matrix(result, "PGD")[:, 1].max() == 0


def test_a_model_of_another_input_size_gets_resized_images(images: Images) -> None:
    larger = model_of(nn.Sequential(nn.AvgPool2d(2), copy.deepcopy(reader().network)), (1, 16, 16), 10)
    result = run("transferability", reader(), images, compare_to=[larger], eps=0.15, max_images=60)
    assert any("another size" in warning for warning in result.warnings)
    assert matrix(result, "PGD")[0, 1] > 0.2


def test_without_labels_the_predictions_of_the_first_model_are_used(other: Model) -> None:
    unlabelled = Images.from_tensor(digits()[0], classes=CLASSES)
    result = run("transferability", reader(), unlabelled, compare_to=[other], eps=0.1, max_images=40)
    assert any("no labels" in warning for warning in result.warnings)
    table = next(e for e in result.exhibits if isinstance(e, Table))
    assert table.rows[0][2] == 1


def test_the_number_of_images_is_what_a_minute_allows(images: Images, other: Model, monkeypatch) -> None:
    module = "probe.analyses.adversarial.transferability"
    of_models = views([reader(), other], images)
    # 3 passes of FGSM on each of two models, and 6 predictions of originals and results.
    attacks, passes = [FGSM(eps=0.1)], 2 * 3 + 6
    second = forward_seconds(reader())
    monkeypatch.setattr(f"{module}._SECONDS", 40.5 * passes * second)
    assert affordable_images(of_models, attacks, 0) == 40
    result = run("transferability", reader(), images, compare_to=[other], attacks="fgsm")
    table = next(e for e in result.exhibits if isinstance(e, Table))
    assert table.facts["images"] == 40
    assert f"drawn from {len(images):,}, as many as a minute on two cores allows" in table.caption
    monkeypatch.setattr(f"{module}._SECONDS", 1e9)
    assert affordable_images(of_models, attacks, 0) == len(images)
    monkeypatch.setattr(f"{module}._SECONDS", 0)
    assert affordable_images(of_models, attacks, 0) == 16


def test_a_second_model_is_required(images: Images) -> None:
    with pytest.raises(UserError, match="add --compare-to NAME"):
        run("transferability", reader(), images)


def test_models_that_are_never_correct_together_are_refused(images: Images) -> None:
    nines = images.select((digits()[1] == 9).nonzero()[:, 0])
    constant = linear(torch.zeros(10, 64), torch.eye(10)[0], (1, 8, 8))
    with pytest.raises(UserError, match="no image of digits is classified correctly by all of"):
        run("transferability", reader(), nines, compare_to=[constant])


@pytest.mark.parametrize(("layer", "before", "sign"), DEFECTS)
def test_a_model_with_a_masked_gradient_is_warned_of(
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
            attacks="pgd(steps=3)",
            max_images=40,
        )
    assert any(sign in warning for warning in result.warnings)


def test_the_attacks_are_those_declared_with_their_parameters(images: Images, other: Model) -> None:
    """Rates of attacks written as text are those of the same attacks called from Python."""
    few = images.select(torch.arange(60))
    result = run(
        "transferability", reader(), few, compare_to=[other],
        attacks="pgd(steps=3, eps=0.1), mi-fgsm(eps=0.1, early_stop=True), pgd(steps=6)", eps=0.2,
    )  # fmt: skip
    pixels, labels = few.pixels(), few.labels
    assert labels is not None
    correct = torch.stack([predict(model, pixels).argmax(1) == labels for model in (reader(), other)]).all(0)
    deterministic = MIFGSM(eps=0.1)(reader(), pixels, labels).pixels
    rates = [
        float((predict(m, deterministic).argmax(1) != labels)[correct].float().mean())
        for m in (reader(), other)
    ]
    assert matrix(result, "MI-FGSM")[0].tolist() == pytest.approx(rates, abs=1e-6)
    assert matrix(result, "PGD (eps=0.1, steps=3)").mean() < matrix(result, "PGD (steps=6)").mean()
    assert list(result.numbers) == [
        "transfer_rate_pgd_eps_0_1_steps_3", "transfer_rate_mi_fgsm", "transfer_rate_pgd_steps_6"
    ]  # fmt: skip
    assert [e.title.partition(":")[0] for e in result.exhibits][:3] == [
        "PGD (steps=6)", "MI-FGSM", "PGD (eps=0.1, steps=3)"
    ]  # fmt: skip


def test_an_attack_without_a_radius_has_none_in_its_caption(images: Images, other: Model) -> None:
    result = run("transferability", reader(), images, compare_to=[other], attacks="deepfool", max_images=30)
    assert matrix(result, "DeepFool")[0, 0] > 0.9
    assert "eps" not in result.exhibits[0].caption


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ("fgsmm", "attacks: there is no attack 'fgsmm'. Did you mean fgsm"),
        ("pgd(step=-1)", "attacks: pgd: step must be at least 0, got -1"),
        ("pgd, pgd", "attacks: pgd is given twice"),
        ("", "attacks"),
    ],
)
def test_a_wrong_attack_is_refused_in_one_line(
    images: Images, other: Model, attacks: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        run("transferability", reader(), images, compare_to=[other], attacks=attacks)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


FINDINGS = TransferFindings(
    title="PGD",
    eps=8 / 255,
    norm="linf",
    baseline=False,
    models=("a", "b"),
    rates=np.array([[0.9, 0.25], [0.5, 0.7]]),
    hits=75,
    n=100,
)


def test_a_caption_states_the_rates() -> None:
    assert transfer_caption(FINDINGS) == (
        "PGD at eps 8/255 fools the model that it attacks in 80% of 100 images and the other model in 38%. The highest"
        " transfer rate is that of attacks on b to a, 50%."
    )


def test_the_caption_of_noise_calls_it_a_baseline() -> None:
    caption = transfer_caption(replace(FINDINGS, title="Noise", baseline=True, norm="l2", eps=1.5))
    assert caption.startswith(
        "Random noise at an L2 radius of 1.5 fools the models in 59% of 100 images on average."
    )


@pytest.mark.parametrize(
    ("correct", "start"),
    [
        ([[True, True], [True, True], [True, True]], "All 3 images are classified correctly by both models"),
        (
            [[True, True], [True, False], [True, False]],
            "1 of 3 images is classified correctly by both models",
        ),
        ([[True] * 3] * 2 + [[False] * 3], "2 of 3 images are classified correctly by all 3 models"),
    ],
)
def test_the_caption_of_the_models_counts_the_common_images(correct: list[list[bool]], start: str) -> None:
    models = [reader()] * len(correct[0])
    assert model_table(models, ["a", "b", "c"][: len(models)], np.array(correct)).caption.startswith(start)


def test_a_caption_names_no_pair_where_nothing_transfers() -> None:
    silent = replace(FINDINGS, rates=np.diag([0.9, 0.7]), hits=0, models=("a", "b"), n=1)
    assert transfer_caption(silent) == (
        "PGD at eps 8/255 fools the model that it attacks in 80% of 1 image and the other model in 0%."
    )
