"""The verdict on an attribution method, by 95% intervals over the images."""

from dataclasses import dataclass

import numpy as np

from probe.analyses.attribution.attribution_tests_run import Measurements, RandomOrder, areas
from probe.statistics import mean_interval, wilson_interval

INDEPENDENT = 0.9
"""A map that is more similar than this to that of another image, or class, does not depend on the image, or class."""

MAX_CHANGE = 1.0
"""Of a map by noise, relative to its norm; a larger change fails."""

MIN_IMAGES = 16
"""From which on a method fails that is not shown to exceed the chance level; with fewer it is undecided."""


@dataclass(frozen=True)
class Verdict:
    """The tests that a method fails, and those for which there are too few images."""

    failed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"fails: {', '.join(self.failed)}"] if self.failed else []
        parts += [f"too few images: {', '.join(self.undecided)}"] if self.undecided else []
        return "; ".join(parts) or "passes"


def decide(measured: Measurements, random: RandomOrder, *, runner_up: bool) -> Verdict:
    """The verdict of all tests, by 95% intervals over the images. runner_up: whether the model has a second class."""
    if measured.constant:
        return Verdict(("constant maps",))
    tests = {"randomisation": _RANDOMISED[measured.randomisation.outcome]}
    tests["image"] = _exceeds(measured.other_image, INDEPENDENT)
    if runner_up:
        tests["class"] = _exceeds(measured.other_class, INDEPENDENT)
    tests["noise"] = _exceeds(measured.sensitivity, MAX_CHANGE)
    n = len(measured.insertion)
    if measured.pointing is not None and random.box is not None:
        low, _ = wilson_interval(int(measured.pointing.sum()), n)
        tests["pointing"] = _not_shown(low > float(random.box.mean()), n)
    inserted = mean_interval(areas(measured.insertion) - areas(random.insertion))[0] > 0
    deleted = mean_interval(areas(measured.deletion) - areas(random.deletion))[1] < 0
    tests["insertion and deletion"] = _not_shown(inserted or deleted, n)
    return Verdict(
        tuple(name for name, fails in tests.items() if fails),
        tuple(name for name, fails in tests.items() if fails is None),
    )


# Whether a test is failed; None where there are too few images to tell.
_RANDOMISED = {"fails": True, "passes": False, "undecided": None, "constant": True}


def _exceeds(values: np.ndarray, limit: float) -> bool | None:
    """Whether the mean exceeds the limit."""
    low, high = mean_interval(values)
    return True if low > limit else False if high <= limit else None


def _not_shown(better: bool, n: int) -> bool | None:
    """Whether a method fails to exceed the chance level; on few images that decides nothing."""
    return False if better else True if n >= MIN_IMAGES else None


@dataclass(frozen=True, kw_only=True)
class MethodTests:
    """One method with what was measured and decided. control: the edges, which are no method and have no key."""

    title: str
    key: str = ""
    measured: Measurements
    verdict: Verdict
    control: bool = False
