"""Draw the data set `shapes`: ten silhouettes in random colours and textures on cluttered backgrounds.

Objects, backgrounds and clutter have colours and textures from the same distributions, and all objects cover the
same range of areas: only the silhouette determines the class.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor, arange

CLASSES = ("circle", "square", "triangle", "star", "cross", "ring", "heart", "crescent", "arrow", "bolt")
SIZES = {"train": 20_000, "test": 2_000}
SIDE = 64
VERSION = "1"  # part of the cache key: increase it if an image changes

_FINE = 4  # supersampling of the silhouettes
_STREAMS = {"train": 1, "test": 2}
_AREA = (0.10, 0.22)  # of the image
_MIN_CONTRAST = 0.30  # _distance between any colour of the object and any of the background

Outline = np.ndarray  # (k, 2) x, y


def labels_of(count: int) -> Tensor:
    """The labels of the first `count` images: the classes alternate."""
    return arange(count) % len(CLASSES)


def draw_shapes(split: str, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Draw the images `indices` of `split`, each from its own random stream.

    Returns pixels (n, 3, 64, 64) uint8, labels (n,) int64, masks (n, 64, 64) bool (True where the object covers at
    least half of the pixel) and boxes (n, 4) int64 around the masks: left, top, right, bottom, the last two exclusive.
    """
    n = len(indices)
    pixels = np.empty((n, 3, SIDE, SIDE), np.uint8)
    masks = np.empty((n, SIDE, SIDE), bool)
    boxes = np.empty((n, 4), np.int64)
    labels = np.array([index % len(CLASSES) for index in indices], np.int64)
    for i, index in enumerate(indices):
        pixels[i], masks[i] = _image(np.random.default_rng([_STREAMS[split], index]), labels[i])
        columns, rows = masks[i].any(0).nonzero()[0], masks[i].any(1).nonzero()[0]
        boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return {"pixels": pixels, "labels": labels, "masks": masks, "boxes": boxes}


def _image(rng: np.random.Generator, label: int) -> tuple[np.ndarray, np.ndarray]:
    """The image (3, 64, 64) uint8 and the mask of its object."""
    background, own = _palettes(rng)
    image = _texture(rng, *background[:2])
    for _ in range(rng.integers(4, 10)):
        # Some clutter has the colours of the object: colour alone does not locate it.
        palette = own if rng.random() < 0.25 else background
        spot = _cover(_clutter(rng))
        filling = (
            _texture(rng, *palette[-2:]) if rng.random() < 0.5 else _flat(palette[rng.integers(len(palette))])
        )
        image += spot * (filling - image)
    cover = _cover(_place(rng, _OUTLINES[CLASSES[label]]))
    image *= 1 - np.float32(rng.uniform(0, 0.5)) * _shadow(rng, cover)
    surface = _texture(rng, *own)
    surface *= 1 + np.float32(rng.uniform(0, 0.25)) * _ramp(rng)
    image += cover * (surface - image)
    image += np.float32(rng.uniform(0, 0.02)) * rng.standard_normal(image.shape, np.float32)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8), cover >= 0.5


# Colours


def _palettes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four colours for background and clutter and two for the object, with enough contrast between the two."""
    best, highest = None, -1.0
    for _ in range(60):
        background, own = _colours(rng, 4), _colours(rng, 2)
        contrast = min(_distance(a, b) for a in background for b in own)
        if contrast > highest:
            best, highest = (background, own), contrast
        if contrast > _MIN_CONTRAST:
            break
    assert best is not None
    return best


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` related colours around a random one, of any saturation: (count, 3) float32."""
    middle = rng.uniform(0.05, 0.95, 3)
    middle = middle.mean() + rng.uniform(0.25, 1.0) * (middle - middle.mean())
    return (middle + rng.normal(0, 0.14, (count, 3))).clip(0.02, 0.98).astype(np.float32)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    """Perceived distance of two colours: brightness weighs most, then red-green, then blue-yellow."""
    d = a - b
    light = 0.30 * d[0] + 0.59 * d[1] + 0.11 * d[2]
    return float(np.sqrt(light**2 + 0.25 * (d[0] - d[1]) ** 2 + 0.09 * (d[2] - (d[0] + d[1]) / 2) ** 2))


# Textures

_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def _texture(rng: np.random.Generator, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 64, 64) float32: two colours mixed by a random pattern."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng).astype(np.float32, copy=False)
    return _flat(first) + pattern * _flat(second - first)


def _flat(colour: np.ndarray) -> np.ndarray:
    return colour[:, None, None]


def _rotated_axes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    angle = rng.uniform(0, 2 * np.pi)
    c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x, y = _X - rng.uniform(0, SIDE), _Y - rng.uniform(0, SIDE)
    return (c * x + s * y).astype(np.float32), (c * y - s * x).astype(np.float32)


def _step(wave: np.ndarray, sharp: float) -> np.ndarray:
    """A wave around 0 as a soft step from 0 to 1."""
    return (wave * sharp + 0.5).clip(0, 1)


def _stripes(rng: np.random.Generator) -> np.ndarray:
    x, y = _rotated_axes(rng)
    period = rng.uniform(4, 14)
    bend = rng.choice([0.0, rng.uniform(1, 4)]) * np.sin(y * (2 * np.pi / rng.uniform(16, 40)))
    return _step(np.sin((x + bend) * (2 * np.pi / period)) + rng.uniform(-0.4, 0.4), period / 8)


def _checks(rng: np.random.Generator) -> np.ndarray:
    x, y = _rotated_axes(rng)
    k = np.pi / rng.uniform(3.5, 9)
    return _step(np.sin(x * k) * np.sin(y * k), 1 / k)


def _dots(rng: np.random.Generator) -> np.ndarray:
    x, y = _rotated_axes(rng)
    period = rng.uniform(6, 12)
    k = 2 * np.pi / period
    return _step(np.cos(x * k) + np.cos(y * k) - rng.uniform(0.3, 1.0), period / 8)


def _noise(rng: np.random.Generator) -> np.ndarray:
    """Clouds: noise on coarse grids, upsampled smoothly and summed."""
    total = np.zeros((SIDE, SIDE), np.float32)
    for cells, weight in ((3, 1.0), (6, 0.6), (14, rng.uniform(0, 0.6)), (32, rng.uniform(0, 0.5))):
        grid = Image.fromarray(rng.normal(0, weight, (cells, cells)).astype(np.float32))
        total += np.asarray(grid.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return _step(total, rng.uniform(0.35, 1.5))


def _gradient(rng: np.random.Generator) -> np.ndarray:
    x, _ = _rotated_axes(rng)
    return _step(x / SIDE, rng.uniform(0.6, 1.2))


def _rings(rng: np.random.Generator) -> np.ndarray:
    x, y = _rotated_axes(rng)
    period = rng.uniform(5, 14)
    return _step(np.sin(np.hypot(x, y) * (2 * np.pi / period)), period / 8)


def _grain(rng: np.random.Generator) -> np.ndarray:
    return rng.random((SIDE, SIDE), dtype=np.float32)


_PATTERNS = (_stripes, _checks, _dots, _noise, _noise, _gradient, _rings, _grain)


def _ramp(rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * np.pi)
    return ((np.cos(angle) * (_X - SIDE / 2) + np.sin(angle) * (_Y - SIDE / 2)) / (SIDE / 2)).astype(
        np.float32
    )


# Silhouettes


def _cover(outlines: Sequence[Outline]) -> np.ndarray:
    """The fraction of each pixel inside the first outline and outside the others: (64, 64) in [0, 1]."""
    fine = Image.new("L", (SIDE * _FINE, SIDE * _FINE))
    pen = ImageDraw.Draw(fine)
    for i, outline in enumerate(outlines):
        pen.polygon((outline * _FINE).ravel().tolist(), fill=0 if i else 255)
    return np.asarray(fine.reduce(_FINE), np.float32) / 255


def _shadow(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """The silhouette shifted by up to three pixels and blurred."""
    soft = np.roll(cover, rng.integers(-3, 4, 2), (0, 1))
    for axis in (0, 1):
        soft = (soft + np.roll(soft, 1, axis) + np.roll(soft, -1, axis)) / 3
    return soft


def _place(rng: np.random.Generator, outlines: Sequence[Outline]) -> list[Outline]:
    """A silhouette of unit area, rotated, stretched slightly, scaled and placed inside the image."""
    stretch = np.exp(rng.normal(0, 0.08))
    bend = rng.uniform(0, 2 * np.pi)
    squeeze = _rotation(bend) @ np.diag([stretch, 1 / stretch]) @ _rotation(-bend)
    turn = squeeze @ _rotation(rng.uniform(0, 2 * np.pi))
    scale = SIDE * np.sqrt(rng.uniform(*_AREA))
    placed = [scale * outline @ turn.T for outline in outlines]
    low, high = placed[0].min(0), placed[0].max(0)
    room = SIDE - 2 - (high - low)
    if (room < 0).any():  # a long arrow along the diagonal: as large as possible
        shrink = (SIDE - 2) / (high - low).max()
        placed = [outline * shrink for outline in placed]
        low, high = low * shrink, high * shrink
        room = (SIDE - 2 - (high - low)).clip(0)
    corner = 1 + rng.uniform(0, 1, 2) * room
    return [outline - low + corner for outline in placed]


def _clutter(rng: np.random.Generator) -> list[Outline]:
    """A stroke or a blob, smaller and less regular than the objects."""
    centre = rng.uniform(0, SIDE, 2)
    if rng.random() < 0.5:
        length, width, angle = rng.uniform(8, 40), rng.uniform(0.8, 2.5), rng.uniform(0, 2 * np.pi)
        t = np.linspace(-0.5, 0.5, 12)
        line = np.stack([t * length, rng.uniform(-8, 8) * (4 * t**2 - 1)], 1)
        half = np.array([0, width / 2])
        body = np.concatenate([line + half, (line - half)[::-1]])
        return [body @ _rotation(angle).T + centre]
    angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 9)))
    radii = rng.uniform(2, 6.5, len(angles))
    return [np.stack([radii * np.cos(angles), radii * np.sin(angles)], 1) + centre]


def _rotation(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s], [s, c]])


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


_OUTLINES = {
    "circle": _unit(_arc(1)),
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
    "bolt": _unit(_points(0.6, -4, -2.2, 0.6, -0.3, 0.6, -1.2, 4, 2.2, -1, 0.3, -1, 2.0, -4)),
}
