"""What each part of the robustness analysis may spend: a share of the forward passes that the stated minutes allow."""

from dataclasses import dataclass, field

from probe.analyses.adversarial.robustness_captions import BudgetFindings, budget_caption
from probe.exhibits.exhibits import Cell, Table, facts_of
from probe.methods.adversarial.passes import Passes
from probe.model.budget import GRADIENT_COST, affordable
from probe.model.model import Model

CORES = 1.4
"""Two cores against one, measured on SqueezeNet and ResNet-56."""

ATTACKS = "attacks at every radius, minimal radii"
CHECKS = "masking checks"
UNIVERSAL = "universal perturbation"
TARGETS = "targeted attacks"
MINIMAL = "minimal L2 perturbations, one pixel"
ASCENT = "gradient ascent"
STRONGEST = "stronger attacks on the surviving images"
STANDARD = "AutoAttack standard"

SHARES = {
    ATTACKS: 0.35,
    CHECKS: 0.15,
    UNIVERSAL: 0.03,
    TARGETS: 0.12,
    MINIMAL: 0.2,
    ASCENT: 0.05,
    STRONGEST: 0.1,
}
"""Of the budget, in the order in which the parts are measured; what one leaves goes to those after it."""

MOST_IMAGES = 128
FEWEST_IMAGES = 16


@dataclass
class Spending:
    """The budget in forward passes, and what was spent on each part. omitted: the parts for which it did not suffice.

    closing: whether all parts have had their turn, and those that were omitted may take what is left.
    """

    total: float
    spent: dict[str, Passes] = field(default_factory=dict)
    omitted: list[str] = field(default_factory=list)
    closing: bool = False

    @property
    def left(self) -> float:
        return self.total - sum(passes.cost for name, passes in self.spent.items() if name != STANDARD)

    def allowance(self, part: str, *, reserved: float = 0) -> float:
        """What `part` may take: its share of what is left, among the parts that are still to come.

        reserved: for parts before it that are measured at the same time.
        """
        if self.closing:
            return max(0.0, self.left)
        names = list(SHARES)
        coming = [SHARES[name] for name in names[names.index(part) :]]
        return max(0.0, self.left - reserved) * SHARES[part] / sum(coming)

    def second_turn(self) -> list[str]:
        """The parts that were omitted, which may be tried again with what is left."""
        parts, self.omitted, self.closing = self.omitted, [], True
        return parts

    def add(self, part: str, passes: Passes) -> None:
        before = self.spent.get(part, Passes())
        self.spent[part] = Passes(before.forward + passes.forward, before.backward + passes.backward)


@dataclass(frozen=True)
class Effort:
    """What follows the cost of the network where the parameters leave it open.

    passes: the budget, in forward passes. steps: of PGD. queries: of the square attack. eps_steps: radii. rounds: of the
    search for minimal radii.
    """

    passes: int
    steps: int
    queries: int
    eps_steps: int
    rounds: int


def effort(model: Model, minutes: float) -> Effort:
    """The effort for `minutes` on two cores."""
    passes = affordable(60 * minutes * CORES, model, passes=1, low=1, high=10**9)
    each = passes / MOST_IMAGES
    expensive = each < 300
    return Effort(
        passes=passes,
        steps=10 if expensive else 20,
        queries=60 if expensive else 200,
        eps_steps=2 if expensive else 4,
        rounds=3 if expensive else 5,
    )


def affordable_images(spending: Spending, pilot: int) -> int:
    """How many images the attacks may take in all, from what the first `pilot` of them took."""
    each = max(1.0, spending.spent[ATTACKS].cost / pilot)
    share = SHARES[ATTACKS] * spending.total
    return max(pilot, min(MOST_IMAGES, int(share / each)))


def budget_table(spending: Spending, minutes: float, images: int) -> Table:
    """What was spent on each part."""
    rows: list[list[Cell]] = [
        [part, passes.forward, passes.backward, passes.cost] for part, passes in spending.spent.items()
    ]
    findings = BudgetFindings(
        minutes=minutes,
        passes=int(spending.total),
        spent=sum(passes.cost for part, passes in spending.spent.items() if part != STANDARD),
        images=images,
        gradient_cost=GRADIENT_COST,
        omitted=tuple(spending.omitted),
    )
    return Table(
        title="Computing budget",
        caption=budget_caption(findings),
        facts=facts_of(findings),
        columns=["part", "forward passes", "backward passes", "as forward passes"],
        rows=rows,
        formats=dict.fromkeys(("forward passes", "backward passes", "as forward passes"), "{:,}"),
    )
