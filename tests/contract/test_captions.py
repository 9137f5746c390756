"""No caption drifts from its data: every number in a caption is in the result that it describes.

A figure that no headline number, table, chart or matrix holds goes into the `facts` of the exhibit.
"""

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import pytest

from probe.analyses import catalogue, find
from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit, ImageGrid
from probe.exhibits.result import Number, Result
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare
from probe.runs.job import RunJob
from tests.conftest import suited

NUMBER = re.compile(r"(?<![\w.])[-\u2212]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?")
FIXED = {
    95.0: "the level of the intervals",
    255.0: "grey levels of a pixel",
    2.0: "pairs, a plane",
    1.0: "a unit",
    0.0: "the origin",
}
"""Numbers that a caption may say although no result holds them, and what they are."""

MOST_VALUES = 4000
"""Of one array; a larger one would hold nearly every number by chance."""


def numbers_in(text: str) -> list[tuple[float, float]]:
    """Each number in a text with half a unit of its last digit.

    >>> numbers_in("1,200 of 0.25 (8/255), 3e-05")
    [(1200.0, 0.5), (0.25, 0.005), (8.0, 0.5), (255.0, 0.5), (3e-05, 5e-06)]
    """
    parsed = []
    for match in NUMBER.findall(text):
        plain = match.replace(",", "").replace("\u2212", "-")
        mantissa, _, exponent = plain.partition("e")
        decimals = len(mantissa.partition(".")[2])
        parsed.append((float(plain), 0.5 * 10.0 ** (int(exponent or 0) - decimals)))
    return parsed


def values_of(value: Any) -> Iterator[float]:
    """Every number that a result, an exhibit or a parameter holds; pixels excepted."""
    if isinstance(value, np.ndarray):
        yield from map(float, value.shape)
        if value.size <= MOST_VALUES:
            yield from value.astype(np.float64).ravel().tolist()
    elif isinstance(value, bool) or value is None:
        return
    elif isinstance(value, int | float | np.number):
        yield float(value)
    elif isinstance(value, str):
        for number, _ in numbers_in(value):
            yield number
    elif isinstance(value, ImageGrid):
        headers = [value.column_headers, value.row_headers]
        yield from values_of([value.title, value.labels, value.columns, *headers, value.scale, value.facts])
        yield float(len(value.images))
    elif isinstance(value, Number):
        yield from values_of([value.value, value.low, value.high, value.n, value.label])
    elif is_dataclass(value):
        names = [field.name for field in fields(value) if field.name not in ("caption", "thumbnails")]
        yield from values_of([getattr(value, name) for name in names])
    elif isinstance(value, dict):
        yield from values_of([list(value), list(value.values())])
    elif isinstance(value, list | tuple):
        yield float(len(value))
        for part in value:
            yield from values_of(part)


def missing(exhibit: Exhibit, pool: np.ndarray) -> list[str]:
    """The numbers of a caption that are neither in `pool` nor a percentage or number of grey levels of it."""
    lines = []
    for number, tolerance in numbers_in(exhibit.caption):
        near = (np.abs(pool * scale - number) <= tolerance * 1.0001 + 1e-12 for scale in (1, 100, 255))
        if number not in FIXED and not any(part.any() for part in near):
            lines.append(f"{number:g} in {exhibit.title!r}: {exhibit.caption}")
    return lines


def pool_of(result: Result, analysis: Analysis, model: Model, images: Images) -> np.ndarray:
    parameters = analysis.model_dump()
    names = [*model.classes, *(layer.address for layer in model.layers), model.name, images.name]
    facts = [
        len(images),
        len(model.classes),
        *model.shape,
        *(layer.shape for layer in model.layers),
        model.parameters,
    ]
    pool = np.array(list(values_of([result.exhibits, result.numbers, parameters, names, facts])))
    return np.unique(pool[np.isfinite(pool)])


@pytest.mark.parametrize("name", list(catalogue()))
def test_every_number_of_a_caption_is_in_the_result(name: str, convnet: Model, noise_images: Images) -> None:
    analysis = make_analysis(name, **find(name).quick)
    model, images = suited(name, convnet), prepare(convnet, noise_images)
    result = execute(analysis, model, images, RunJob(5, compare_to=[model] * 2))
    pool = pool_of(result, analysis, model, images)
    assert not [line for exhibit in result.exhibits for line in missing(exhibit, pool)]


def test_a_number_that_drifted_is_found() -> None:
    exhibit = Exhibit(title="Accuracy", caption="Accuracy is 91.4% of 1,200 images.")
    assert not missing(exhibit, np.array([0.9142, 1200.0]))
    assert missing(exhibit, np.array([0.9242, 1200.0]))
    assert missing(exhibit, np.array([0.9142, 1300.0]))
