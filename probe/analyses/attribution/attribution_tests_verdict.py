"""The verdict on an attribution method, by 95% intervals over the images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from probe.analyses.attribution.attribution_tests_run import Measurements, RandomOrder, areas
from probe.exhibits.wording import listed
from probe.statistics import mean_interval, wilson_interval

INDEPENDENT = 0.9
"""A map that is more similar than this to that of another image, or class, does not depend on the image, or class."""

MAX_CHANGE = 1.0
"""Of a map by noise, relative to its norm; a larger change fails."""

MIN_IMAGES = 16
"""From which on a method fails that is not shown to exceed the chance level; with fewer it is undecided."""


@dataclass(frozen=True)
class Verdict:
    """The tests that a method fails, those for which there are too few images, and those withheld because of blank maps."""

    failed: tuple[str, ...] = ()
    undecided: tuple[str, ...] = ()
    blank: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"fails: {', '.join(self.failed)}"] if self.failed else []
        parts += [f"too few images: {', '.join(self.undecided)}"] if self.undecided else []
        parts += [f"blank maps: {', '.join(self.blank)}"] if self.blank else []
        return "; ".join(parts) or "passes"


def decide(measured: Measurements, random: RandomOrder, *, runner_up: bool) -> Verdict:
    """The verdict of all tests, by 95% intervals over the images. runner_up: whether the model has a second class."""
    if not measured.usable.any():
        return Verdict(blank=("all tests",))
    randomisation = measured.randomisation.outcome
    tests = {"randomisation": _RANDOMISED(randomisation)}
    tests["image"] = _exceeds(measured.other_image, INDEPENDENT)
    if runner_up:
        tests["class"] = _exceeds(measured.other_class, INDEPENDENT)
    tests["noise"] = _exceeds(measured.sensitivity, MAX_CHANGE)
    usable = measured.usable.astype(bool)
    n = int(usable.sum())
    if measured.pointing is not None and random.box is not None:
        low, _ = wilson_interval(int(np.nansum(measured.pointing)), n)
        tests["pointing"] = _not_shown(low > float(random.box[usable].mean()), n)
    inserted = mean_interval(areas(measured.insertion - random.insertion)[usable])[0] > 0
    deleted = mean_interval(areas(measured.deletion - random.deletion)[usable])[1] < 0
    tests["insertion and deletion"] = _not_shown(inserted or deleted, n)
    withheld = ("randomisation",) if randomisation in ("blank", "constant") else ()
    return Verdict(
        tuple(name for name, fails in tests.items() if fails),
        tuple(name for name, fails in tests.items() if fails is None and name not in withheld),
        withheld,
    )


# Whether a test is failed; None where there are too few images to tell.
_RANDOMISED = {"fails": True, "passes": False}.get


def _exceeds(values: np.ndarray, limit: float) -> bool | None:
    """Whether the mean exceeds the limit."""
    low, high = mean_interval(values[~np.isnan(values)])
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


def blank_warnings(tests: Sequence[MethodTests]) -> list[str]:
    """Which methods have blank maps, of the trained network and of randomised ones: they are left out of the verdicts."""
    titles: dict[str, list[str]] = {}  # the methods of each sentence: often all blank maps have one cause
    for test in tests:
        result, n = test.measured.randomisation, len(test.measured.usable)
        usable = result.images - result.blank
        parts = [
            test.measured.blank and f"{test.measured.blank} of {n} with the trained network",
            result.blank_last and f"{result.blank_last} of {usable} with the last layer randomised",
            result.blank_half and f"{result.blank_half} of {usable} with half of the layers randomised",
        ]
        counts = [part for part in parts if isinstance(part, str)]
        if counts and not test.control:
            titles.setdefault(listed(counts), []).append(test.title)
    return [f"Maps of {listed(names)} are blank and excluded: {counts}." for counts, names in titles.items()]
