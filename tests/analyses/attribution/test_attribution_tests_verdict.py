"""Verdicts on measurements made by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from probe.analyses.attribution.attribution_tests_run import Measurements, RandomOrder
from probe.analyses.attribution.attribution_tests_verdict import (
    MIN_IMAGES,
    MethodTests,
    Verdict,
    blank_warnings,
    decide,
)


def spread(mean: float, n: int = 16) -> np.ndarray:
    return mean + np.linspace(-0.02, 0.02, n)


def curves(area: float, n: int = 16) -> np.ndarray:
    return np.repeat(spread(area, n)[:, None], 5, axis=1)


def measurements(n: int = 16, **changes: Any) -> Measurements:
    """Of a method that passes every test."""
    good = Measurements(
        cascade=np.stack([spread(0.3, n), spread(0.2, n), spread(0.1, n), spread(0.0, n)]),
        last=spread(0.2, n),
        other_image=spread(0.1, n),
        other_class=spread(0.3, n),
        examples=np.zeros((6, 4, 4)),
        usable=np.ones(n, dtype=bool),
        sensitivity=spread(0.1, n),
        insertion=curves(0.8, n),
        deletion=curves(0.2, n),
        pointing=np.ones(n),
    )
    return replace(good, **changes)


def random_maps(n: int = 16) -> RandomOrder:
    box = np.full(n, 0.2)
    return RandomOrder(insertion=curves(0.5, n), deletion=curves(0.5, n), mask=box / 2, box=box)


def test_a_method_without_a_failure_passes() -> None:
    verdict = decide(measurements(), random_maps(), runner_up=True)
    assert verdict == Verdict()
    assert str(verdict) == "passes"


@pytest.mark.parametrize(
    ("test", "changes"),
    [
        ("randomisation", {"last": spread(0.7)}),
        ("randomisation", {"cascade": np.stack([spread(0.9), spread(0.7), spread(0.1), spread(0.1)])}),
        ("image", {"other_image": spread(0.95)}),
        ("class", {"other_class": spread(0.95)}),
        ("noise", {"sensitivity": spread(1.5)}),
        ("pointing", {"pointing": np.eye(16)[0]}),
        ("insertion and deletion", {"insertion": curves(0.5), "deletion": curves(0.5)}),
    ],
)
def test_each_test_is_failed_by_what_it_measures(test: str, changes: dict[str, Any]) -> None:
    verdict = decide(measurements(**changes), random_maps(), runner_up=True)
    assert verdict == Verdict(failed=(test,))
    assert str(verdict) == f"fails: {test}"


def test_half_of_the_layers_are_randomised_at_half_of_the_stages() -> None:
    late = np.stack([spread(0.1), spread(0.2), spread(0.9), spread(0.9)])
    assert decide(measurements(cascade=late), random_maps(), runner_up=True) == Verdict()


def test_one_of_insertion_and_deletion_is_enough() -> None:
    verdict = decide(measurements(insertion=curves(0.5)), random_maps(), runner_up=True)
    assert verdict == Verdict()


def test_without_a_runner_up_or_masks_their_tests_are_skipped() -> None:
    measured = measurements(other_class=spread(0.95), pointing=None)
    assert decide(measured, random_maps(), runner_up=False) == Verdict()


def test_comparisons_with_chance_are_undecided_on_few_images() -> None:
    n = MIN_IMAGES - 1
    flat = {"pointing": np.zeros(n), "insertion": curves(0.5, n), "deletion": curves(0.5, n)}
    verdict = decide(measurements(n, **flat), random_maps(n), runner_up=True)
    assert verdict == Verdict(undecided=("pointing", "insertion and deletion"))
    assert str(verdict) == "too few images: pointing, insertion and deletion"


def test_an_interval_that_holds_the_limit_is_undecided() -> None:
    wide = 0.9 + np.linspace(-0.5, 0.5, 16)
    verdict = decide(measurements(other_image=wide), random_maps(), runner_up=True)
    assert verdict == Verdict(undecided=("image",))


def test_blank_maps_get_no_verdict() -> None:
    verdict = decide(measurements(usable=np.zeros(16, dtype=bool)), random_maps(), runner_up=True)
    assert verdict == Verdict(blank=("all tests",))
    assert str(verdict) == "blank maps: all tests"


def test_images_with_a_blank_map_are_left_out() -> None:
    usable = np.arange(20) < 16

    def with_blanks(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, np.full((4, *values.shape[1:]), np.nan)])

    good = measurements()
    names = ("last", "other_image", "other_class", "sensitivity", "insertion", "deletion", "pointing")
    changes: dict[str, Any] = {name: with_blanks(getattr(good, name)) for name in names}
    cascade = np.stack([with_blanks(row) for row in good.cascade])
    measured = replace(good, cascade=cascade, usable=usable, **changes)
    assert decide(measured, random_maps(20), runner_up=True) == Verdict()
    assert measured.blank == 4
    assert measured.randomisation.blank == 4


def test_a_network_that_dies_when_it_is_randomised_withholds_that_verdict_alone() -> None:
    half = spread(0.0)
    half[:12] = np.nan
    measured = measurements(cascade=np.stack([spread(0.3), half, half, half]))
    verdict = decide(measured, random_maps(), runner_up=True)
    assert verdict == Verdict(blank=("randomisation",))
    tests = [
        MethodTests(title=title, key=title, measured=measured, verdict=verdict)
        for title in ("Grad-CAM", "Gradient")
    ]
    assert blank_warnings(tests) == [
        "Maps of Grad-CAM and Gradient are blank and excluded: 12 of 16 with half of the layers randomised."
    ]


def test_measurements_are_read_back_from_their_arrays() -> None:
    arrays = measurements(pointing=None).arrays()
    assert "pointing" not in arrays
    assert all(np.array_equal(value, arrays[name]) for name, value in Measurements(**arrays).arrays().items())
