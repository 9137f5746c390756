"""Outlines of drawn objects, their placement, and the pixels that they cover."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64
FINE = 4  # supersampling of the silhouettes

Outline = np.ndarray  # (k, 2) x, y


def cover(outlines: Sequence[Outline]) -> np.ndarray:
    """The fraction of each pixel inside the first outline and outside the others: (64, 64) in [0, 1]."""
    fine = Image.new("L", (SIDE * FINE, SIDE * FINE))
    pen = ImageDraw.Draw(fine)
    for i, outline in enumerate(outlines):
        pen.polygon((outline * FINE).ravel().tolist(), fill=0 if i else 255)
    return np.asarray(fine.reduce(FINE), np.float32) / 255


def rotation(angle: float) -> np.ndarray:
    """The matrix that turns (x, y) columns by `angle`."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


def turned(rng: np.random.Generator, shape: str, area: float) -> list[Outline]:
    """The outlines of `shape`, of `area` as a fraction of the image, turned and stretched at random around 0."""
    # A circle that is stretched is an ellipse: it stays rounder than any ellipse of the class of that name.
    stretch = np.exp(rng.uniform(-0.03, 0.03) if shape == "circle" else rng.normal(0, 0.08))
    if shape == "ellipse":
        bend, stretch = 0.0, np.exp(rng.uniform(0.0, 0.14))
    else:
        bend = rng.uniform(0, 2 * np.pi)
    squeeze = rotation(bend) @ np.diag([stretch, 1 / stretch]) @ rotation(-bend)
    turn = SIDE * np.sqrt(area) * rotation(rng.uniform(0, 2 * np.pi)) @ squeeze
    return [outline @ turn.T for outline in OUTLINES[shape]]


def inside(rng: np.random.Generator, outlines: Sequence[Outline]) -> list[Outline]:
    """The outlines at a random place where all of them lie in the image; smaller where they are too long for it."""
    low, high = outlines[0].min(0), outlines[0].max(0)
    shrink = min(1.0, float((SIDE - 2) / (high - low).max()))
    corner = 1 + rng.uniform(0, 1, 2) * (SIDE - 2 - shrink * (high - low))
    return [shrink * (outline - low) + corner for outline in outlines]


def cut_by_the_frame(rng: np.random.Generator, outlines: Sequence[Outline]) -> list[Outline]:
    """The outlines at one edge of the image, at least half of their width outside."""
    low, high = outlines[0].min(0), outlines[0].max(0)
    axis, share = rng.integers(2), rng.uniform(0.5, 0.75)
    place = rng.uniform(0, SIDE, 2) - (low + high) / 2
    extent = high[axis] - low[axis]
    place[axis] = (
        -low[axis] - share * extent if rng.random() < 0.5 else SIDE - low[axis] - (1 - share) * extent
    )
    return [outline + place for outline in outlines]


def stroke(rng: np.random.Generator) -> list[Outline]:
    """A curved line."""
    length, width, angle = rng.uniform(8, 44), rng.uniform(0.8, 3.0), rng.uniform(0, 2 * np.pi)
    t = np.linspace(-0.5, 0.5, 12)
    line = np.stack([t * length, rng.uniform(-8, 8) * (4 * t**2 - 1)], 1)
    half = np.array([0, width / 2])
    body = np.concatenate([line + half, (line - half)[::-1]])
    return [body @ rotation(angle).T + rng.uniform(0, SIDE, 2)]


def blob(rng: np.random.Generator, centre: np.ndarray, low: float, high: float) -> list[Outline]:
    """An irregular polygon with corners at distances of `low` to `high` from `centre`."""
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 9)))
    radii = rng.uniform(low, high, len(angles))
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1) + centre]


def bar(rng: np.random.Generator, centre: np.ndarray) -> list[Outline]:
    """A straight bar across the image, whose middle line passes through `centre`."""
    half, turn = rng.uniform(1.5, 4), rotation(rng.uniform(0, 2 * np.pi))
    return [np.array([[-99, -half], [99, -half], [99, half], [-99, half]]) @ turn.T + centre]


def _arc(radius: float, start: float = 0.0, stop: float = 2 * np.pi, points: int = 64) -> Outline:
    angles = np.linspace(start, stop, points)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _points(*corners: float) -> Outline:
    return np.array(corners, float).reshape(-1, 2)


def _star() -> Outline:
    angles = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, 0.42, 1.0)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1)


def _heart() -> Outline:
    t = np.linspace(0, 2 * np.pi, 64)
    x = 16 * np.sin(t) ** 3
    y = -(13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    return np.stack([x, y], 1)


def _crescent() -> Outline:
    """A disc minus a disc of 0.85 its radius, shifted by half the radius."""
    inner, away = 0.85, 0.5
    x = (1 - inner**2 + away**2) / (2 * away)
    outer_angle = np.arccos(x)
    inner_angle = np.arccos((x - away) / inner)
    outside = _arc(1, outer_angle, 2 * np.pi - outer_angle)
    inside = _arc(inner, 2 * np.pi - inner_angle, inner_angle) + np.array([away, 0])
    return np.concatenate([outside, inside])


def _unit(*outlines: Outline) -> tuple[Outline, ...]:
    """Outlines scaled so that the area of the first minus that of the others is 1."""

    def area(p: Outline) -> float:
        q = np.roll(p, -1, 0)
        return abs(float((p[:, 0] * q[:, 1] - q[:, 0] * p[:, 1]).sum())) / 2

    size = np.sqrt(area(outlines[0]) - sum(map(area, outlines[1:])))
    return tuple(outline / size for outline in outlines)


OUTLINES = {
    "circle": _unit(_arc(1)),
    "ellipse": _unit(_arc(1) * np.array([1.45, 1.0])),
    "square": _unit(_points(-1, -1, 1, -1, 1, 1, -1, 1)),
    "triangle": _unit(_arc(1, 0, 4 * np.pi / 3, 3)),
    "star": _unit(_star()),
    "cross": _unit(
        _points(-1, -3, 1, -3, 1, -1, 3, -1, 3, 1, 1, 1, 1, 3, -1, 3, -1, 1, -3, 1, -3, -1, -1, -1)
    ),
    "ring": _unit(_arc(1), _arc(0.6)),
    "heart": _unit(_heart()),
    "crescent": _unit(_crescent()),
    "arrow": _unit(_points(4, 0, 0, 3, 0, 1.2, -4, 1.2, -4, -1.2, 0, -1.2, 0, -3)),
}
"""Outlines of unit area around 0 by class: the first is filled, the others are holes in it."""
