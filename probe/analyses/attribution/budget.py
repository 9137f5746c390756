"""How finely attribution methods compute, and which are tested, within a number of seconds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from probe.methods.attribution.method import AttributionMethod, Precision, seconds
from probe.model.model import Model

TESTED = 16
"""Images of a randomisation test: with fewer, many verdicts are undecided."""

_SHOWN = 0.5  # fraction of the budget for the maps that are shown
_MAPS = 4  # of a tested image: trained, two randomised networks, and what an analysis adds

BUDGET_HELP = (
    "seconds that the analysis may take on one CPU core; they determine the steps, windows and samples that methods do "
    "not state, and which methods are tested"
)


@dataclass(frozen=True)
class Plan:
    """The methods, by the method as the user wrote it, with all parameters filled in.

    shown: for the maps that are shown. tested: for the randomisation test, perhaps more coarsely; methods whose test the
    budget does not allow are missing. test_images: of each test. all_tests: the budget that allows every test.
    """

    shown: Mapping[AttributionMethod, AttributionMethod]
    tested: Mapping[AttributionMethod, AttributionMethod]
    test_images: int
    all_tests: int


def affordable(
    methods: Sequence[AttributionMethod],
    model: Model,
    *,
    examples: int,
    budget: float,
    tests: int = TESTED,
    models: int = 1,
) -> Plan:
    """The finest plan for `models` like `model` within `budget` seconds, of which at most half are for what is shown.

    examples: images that are shown. tests: images of each test. Tests are dropped, the most expensive first, where
    even coarse ones of all methods take too long.
    """
    precisions: tuple[Precision, ...] = get_args(Precision)
    by_precision = {p: {method: method.resolved(model, p) for method in methods} for p in precisions}
    shown_cost = {p: models * examples * seconds(plan.values(), model) for p, plan in by_precision.items()}
    finest = next((p for p in precisions if shown_cost[p] <= _SHOWN * budget), precisions[-1])
    left = budget - shown_cost[finest]

    def test_cost(*resolved: AttributionMethod) -> float:
        return models * tests * _MAPS * seconds(resolved, model)

    lower = precisions[precisions.index(finest) :]
    chosen = next((p for p in lower if test_cost(*by_precision[p].values()) <= left), lower[-1])
    tested: dict[AttributionMethod, AttributionMethod] = {}
    for method, resolved in sorted(by_precision[chosen].items(), key=lambda item: test_cost(item[1])):
        if test_cost(*tested.values(), resolved) <= left:
            tested[method] = resolved
    coarse = by_precision[precisions[-1]].values()
    needed = test_cost(*coarse) + shown_cost[precisions[-1]]
    return Plan(by_precision[finest], tested, tests, -(-int(needed + 1) // 10) * 10)
