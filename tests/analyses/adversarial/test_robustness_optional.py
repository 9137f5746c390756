"""What each part of the robustness analysis may spend, and the parts that a small budget omits."""

import pytest

from probe.analyses.adversarial import robustness_plan as plan
from probe.analyses.adversarial.robustness_data import LabelledImages, measure_curves
from probe.analyses.adversarial.robustness_masking import UniversalSuccess
from probe.analyses.adversarial.robustness_optional import OptionalParts
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


@pytest.fixture
def parts() -> OptionalParts:
    """The parts of a small analysis before anything optional is measured, with a budget for all of them."""
    pixels, labels = digits()
    data = LabelledImages(
        reader(), Images.from_tensor(pixels[:12], labels[:12], name="digits"), labels[:12], 12
    )
    job, spending = RunJob(0), Spending(10**6)
    budget = Budget((FGSM(eps=0.15),), (0.15,), seed=0, search_rounds=1)
    curves, _ = measure_curves(job, data, budget, spending, keep=1, limit=12)
    return OptionalParts(job, data, curves, budget, spending, 1, UniversalSuccess())


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
    part: str, result: str, parts: OptionalParts
) -> None:
    names = ("universal", "targeted", "minimal", "ascent")
    before = {name: getattr(parts, name) for name in names}
    parts.spending.omitted.append(part)
    parts.second_turn()
    assert [name for name in names if getattr(parts, name) != before[name]] == [result]
    assert not parts.spending.omitted
    assert parts.spending.spent.keys() == {plan.ATTACKS, part}


def test_parts_for_which_nothing_is_left_stay_omitted(parts: OptionalParts) -> None:
    parts.spending.total = 0
    parts.attack_targets()
    parts.search()
    omitted = [TARGETS, plan.MINIMAL, plan.ASCENT]
    assert parts.spending.omitted == omitted
    parts.second_turn()
    assert parts.spending.omitted == omitted
    assert (parts.targeted, parts.minimal, parts.ascent) == ([], None, [])
