"""Random colours and textures of drawn images."""

import numpy as np
from PIL import Image

from probe.data.silhouettes import SIDE

_CONTRAST = (
    0.10,
    0.45,
)  # least distance between any colour of the object and any of the background, drawn per image


_MESH, _WIRE = 8, 1.4  # pixels between the lines of a net, and half the width of a line


def palettes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Four colours for background and clutter (4, 3) and two for the object (2, 3), with some contrast between them."""
    wanted = rng.uniform(*_CONTRAST)
    best, highest = None, -1.0
    for _ in range(60):
        background, own = _colours(rng, 4), _colours(rng, 2)
        contrast = float(_distances(background, own).min())
        if contrast > highest:
            best, highest = (background, own), contrast
        if contrast > wanted:
            break
    assert best is not None
    background, own = best
    if (
        highest > wanted
    ):  # moved towards the background, the two colours together, until the contrast is the one drawn
        fraction = 1 - wanted / highest
        own = own + np.float32(fraction) * (background.mean(0) - own.mean(0))
    return background, own


def _colours(rng: np.random.Generator, count: int) -> np.ndarray:
    """`count` related colours around a random one, of any saturation: (count, 3) float32."""
    middle = rng.uniform(0.05, 0.95, 3)
    middle = middle.mean() + rng.uniform(0.25, 1.0) * (middle - middle.mean())
    return (middle + rng.normal(0, 0.14, (count, 3))).clip(0.02, 0.98).astype(np.float32)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Perceived distance of colours (n, 3) and (m, 3): brightness weighs most, then red-green, then blue-yellow."""
    d = a[:, None] - b
    light = d @ np.array([0.30, 0.59, 0.11], np.float32)
    red_green, blue_yellow = d[..., 0] - d[..., 1], d[..., 2] - (d[..., 0] + d[..., 1]) / 2
    return np.sqrt(light**2 + 0.25 * red_green**2 + 0.09 * blue_yellow**2)


_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)


def texture(rng: np.random.Generator, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(3, 64, 64) float32: two colours mixed by a random pattern."""
    pattern = _PATTERNS[rng.integers(len(_PATTERNS))](rng).astype(np.float32, copy=False)
    return flat(first) + pattern * flat(second - first)


def net(colour: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """(3, 64, 64) float32: diagonal crossing lines every eight pixels, darker on a light colour and lighter on a dark one."""
    x, y = _X + offset[0], _Y + offset[1]
    distance = [np.abs((x + sign * y) / np.sqrt(2) % _MESH - _MESH / 2) for sign in (1, -1)]
    lines = (_WIRE - np.minimum(*distance)).clip(0, 1).astype(np.float32)
    wire = 0.3 * colour if colour.mean() > 0.5 else 1 - 0.3 * (1 - colour)
    return flat(colour) + lines * flat(wire - colour)


def flat(colour: np.ndarray) -> np.ndarray:
    """One colour (3,) as (3, 1, 1)."""
    return colour[:, None, None]


def ramp(rng: np.random.Generator) -> np.ndarray:
    """(64, 64) float32: a plane that rises from about -1 to 1 in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    plane = (np.cos(angle) * (_X - SIDE / 2) + np.sin(angle) * (_Y - SIDE / 2)) / (SIDE / 2)
    return plane.astype(np.float32)


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
