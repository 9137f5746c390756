"""What each part of the robustness analysis may spend, and the parts that a small budget omits."""

from dataclasses import replace

import numpy as np
import pytest

from probe.analyses.adversarial import robustness_plan as plan
from probe.analyses.adversarial.robustness_data import LabelledImages, measure_curves
from probe.analyses.adversarial.robustness_masking import UniversalSuccess
from probe.analyses.adversarial.robustness_optional import OptionalMeasurements, target_classes, target_rows
from probe.analyses.adversarial.robustness_plan import TARGETS, Spending
from probe.data.images import Images
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.adversarial.passes import Passes
from probe.runs.job import RunJob
from tests.methods.adversarial.victims import digits, reader


def test_a_part_that_its_share_does_not_allow_may_take_what_the_others_leave() -> None:
    spending = Spending(1000, omitted=[TARGETS])
    share = spending.allowance(TARGETS)
    assert share < 1000
    spending.add(plan.ATTACKS, Passes(forward=300, backward=0))
    assert spending.second_turn() == [TARGETS]
    assert not spending.omitted
    assert spending.allowance(TARGETS) == 700 > share
    spending.add(TARGETS, Passes(forward=900, backward=0))
    assert spending.allowance(TARGETS) == 0


def test_parts_that_take_their_share_use_up_the_budget() -> None:
    spending = Spending(10_000)
    for part, share in plan.SHARES.items():
        allowed = spending.allowance(part)
        assert allowed == pytest.approx(share * 10_000 / sum(plan.SHARES.values()), abs=1)
        spending.add(part, Passes(forward=round(allowed), backward=0))
    assert abs(spending.left) <= len(plan.SHARES)
    spending.add(plan.STANDARD, Passes(forward=10**6, backward=10**6))
    assert abs(spending.left) <= len(plan.SHARES), "the standard of AutoAttack is not part of the budget"


def test_what_is_reserved_is_as_good_as_spent() -> None:
    spending, spent = Spending(1000), Spending(1000)
    spent.add(plan.MINIMAL, Passes(forward=400, backward=0))
    assert spending.allowance(plan.ASCENT, reserved=400) == spent.allowance(plan.ASCENT)
    assert spending.allowance(plan.ASCENT, reserved=2000) == 0


def test_a_gradient_is_counted_as_several_forward_passes() -> None:
    spending = Spending(1000)
    for _ in range(2):
        spending.add(plan.CHECKS, Passes(forward=50, backward=30))
    assert spending.spent == {plan.CHECKS: Passes(forward=100, backward=60)}
    assert spending.left == 1000 - Passes(forward=100, backward=60).cost < 900


@pytest.mark.parametrize(
    ("total", "each", "images"),
    [(100_000, 1000, 35), (100_000, 10**6, 16), (10**9, 10, plan.MOST_IMAGES), (64_000, 1000, 22)],
)
def test_attacks_take_the_images_that_their_share_pays_for(total: int, each: int, images: int) -> None:
    spending = Spending(total)
    spending.add(plan.ATTACKS, Passes(forward=16 * each, backward=0))
    assert plan.affordable_images(spending, 16) == images


def test_the_ten_most_frequent_classes_are_targets_in_their_own_order() -> None:
    labels = np.repeat(np.arange(12), [1, 9, 8, 1, 7, 6, 5, 4, 3, 2, 2, 10])
    assert target_classes(labels, 14) == [1, 2, 4, 5, 6, 7, 8, 9, 10, 11]
    assert target_classes(labels[:1], 3) == [0, 1, 2]


def test_the_first_correct_images_of_each_target_are_attacked(parts: OptionalMeasurements) -> None:
    labels, correct = parts.curves.labels, parts.curves.correct.copy()
    first = int(np.flatnonzero(labels == labels[0])[0])
    correct[:] = True
    correct[first] = False
    curves = replace(parts.curves, correct=correct)
    rows = target_rows(curves, sorted(set(labels.tolist())), 2).numpy()
    assert first not in rows
    for c in set(labels.tolist()):
        expected = [row for row in range(len(labels)) if labels[row] == c and row != first][:2]
        assert [row for row in rows if labels[row] == c] == expected


@pytest.fixture
def parts() -> OptionalMeasurements:
    """The parts of a small analysis before anything optional is measured, with a budget for all of them."""
    pixels, labels = digits()
    data = LabelledImages(
        reader(), Images.from_tensor(pixels[:12], labels[:12], name="digits"), labels[:12], 12
    )
    job, spending = RunJob(0), Spending(10**6)
    budget = Budget((FGSM(eps=0.15),), (0.15,), seed=0, search_rounds=1)
    curves, _ = measure_curves(job, data, budget, spending, keep=1, limit=12)
    return OptionalMeasurements(job, data, curves, budget, spending, 1, UniversalSuccess())


@pytest.mark.parametrize(
    ("part", "result"),
    [
        (plan.UNIVERSAL, "universal"),
        (plan.TARGETS, "targeted"),
        (plan.MINIMAL, "minimal"),
        (plan.ASCENT, "ascent"),
    ],
)
def test_the_second_turn_measures_the_parts_that_were_omitted_and_no_others(
    part: str, result: str, parts: OptionalMeasurements
) -> None:
    names = ("universal", "targeted", "minimal", "ascent")
    before = {name: getattr(parts, name) for name in names}
    parts.spending.omitted.append(part)
    parts.second_turn()
    assert [name for name in names if getattr(parts, name) != before[name]] == [result]
    assert not parts.spending.omitted
    assert parts.spending.spent.keys() == {plan.ATTACKS, part}


def test_parts_for_which_nothing_is_left_stay_omitted(parts: OptionalMeasurements) -> None:
    parts.spending.total = 0
    parts.attack_targets()
    parts.search()
    omitted = [TARGETS, plan.MINIMAL, plan.ASCENT]
    assert parts.spending.omitted == omitted
    parts.second_turn()
    assert parts.spending.omitted == omitted
    assert (parts.targeted, parts.minimal, parts.ascent) == ([], None, [])


def test_the_ascent_starts_at_the_first_image_that_is_classified_correctly(
    parts: OptionalMeasurements,
) -> None:
    parts.curves = replace(parts.curves, correct=np.arange(12) >= 3)
    parts.spending.omitted.append(plan.ASCENT)
    parts.second_turn()
    (grid,) = parts.ascent
    start = parts.data.images.pixels()[3].permute(1, 2, 0).numpy()
    assert np.array_equal(grid.images[0], start)
