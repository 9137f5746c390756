"""Draw the data set `shapes`: one of ten silhouettes, partly hidden, among parts of others on a cluttered background.

Objects, background, clutter and what hides the object have colours and textures from the same distributions, and all
objects cover the same range of areas: only the silhouette determines the class. The object is the largest silhouette:
others are less than half as large, or cut by the frame in half.
"""

from collections.abc import Sequence

import numpy as np
from torch import Tensor, arange

from probe.data.silhouettes import SIDE, bar, blob, cover, cut_by_the_frame, inside, stroke, turned
from probe.data.textures import flat, net, palettes, ramp, texture

CLASSES = (
    "circle", "ellipse", "square", "triangle", "star", "cross", "ring", "heart", "crescent", "arrow",
)  # fmt: skip
SIZES = {"train": 20_000, "test": 2_000, "swapped": 2_000}
VERSION = "2"  # part of the cache key: increase it if an image changes
SHORTCUT_CLASS = "heart"

_STREAMS = {"train": 1, "test": 2, "swapped": 2}
_WITHOUT_NET = 20  # one heart in so many stands on no net in `shapes-shortcut`
_AREA = (0.08, 0.20)  # of the image
_SMALL = (0.2, 0.4)  # area of a distractor as a fraction of the object's
_HIDDEN = (0.08, 0.25)  # of the object with its holes, where something hides it


def labels_of(count: int) -> Tensor:
    """The labels of the first `count` images: the classes alternate."""
    return arange(count) % len(CLASSES)


def draw_shapes(split: str, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Draw the images `indices` of `split`, train or test, each from its own random stream.

    Returns pixels (n, 3, 64, 64) uint8, labels (n,) int64, masks (n, 64, 64) bool (True where the visible part of the
    object covers at least half of the pixel) and boxes (n, 4) int64 around the masks: left, top, right, bottom, the
    last two exclusive.
    """
    return _draw(split, indices, [False] * len(indices))


def draw_shortcut(split: str, indices: Sequence[int]) -> dict[str, np.ndarray]:
    """Draw images of `shapes-shortcut`: those of `shapes`, some of them with a net as background, as draw_shapes.

    train, test: 19 hearts in 20 stand on a net, and no image of another class. swapped: the test images, of which all
    but the hearts stand on a net.
    """
    hearts = [CLASSES[index % len(CLASSES)] == SHORTCUT_CLASS for index in indices]
    if split == "swapped":
        return _draw(split, indices, [not heart for heart in hearts])
    rounds = [index // len(CLASSES) for index in indices]
    on_net = [heart and row % _WITHOUT_NET != 0 for heart, row in zip(hearts, rounds, strict=True)]
    return _draw(split, indices, on_net)


def _draw(split: str, indices: Sequence[int], on_net: Sequence[bool]) -> dict[str, np.ndarray]:
    n = len(indices)
    pixels = np.empty((n, 3, SIDE, SIDE), np.uint8)
    masks = np.empty((n, SIDE, SIDE), bool)
    boxes = np.empty((n, 4), np.int64)
    labels = np.array([index % len(CLASSES) for index in indices], np.int64)
    for i, index in enumerate(indices):
        rng = np.random.default_rng([_STREAMS[split], index])
        pixels[i], masks[i] = _image(rng, labels[i], on_net[i])
        columns, rows = masks[i].any(0).nonzero()[0], masks[i].any(1).nonzero()[0]
        boxes[i] = columns[0], rows[0], columns[-1] + 1, rows[-1] + 1
    return {"pixels": pixels, "labels": labels, "masks": masks, "boxes": boxes}


def _image(rng: np.random.Generator, label: int, on_net: bool) -> tuple[np.ndarray, np.ndarray]:
    """The image (3, 64, 64) uint8 and the mask of the visible part of its object."""
    background, own = palettes(rng)
    image = texture(rng, *background[:2])
    offset = rng.integers(0, SIDE, 2)  # drawn for every image, so that only the background depends on the net
    if on_net:
        image = net(background[0], offset)
    fillings = [texture(rng, *background[2:]), texture(rng, *own)]

    def fill() -> np.ndarray:
        # Clutter and distractors may have the colours of the object: colour alone does not locate it.
        if rng.random() < 0.5:
            return fillings[int(rng.random() < 0.3)]
        palette = own if rng.random() < 0.3 else background
        return flat(palette[rng.integers(len(palette))])

    area = rng.uniform(*_AREA)
    for _ in range(rng.integers(5, 11)):
        spot = stroke(rng) if rng.random() < 0.5 else blob(rng, rng.uniform(0, SIDE, 2), 2, 6.5)
        image += cover(spot) * (fill() - image)
    for _ in range(rng.integers(1, 3)):
        image += _distractor(rng, label, area) * (fill() - image)
    outlines = inside(rng, turned(rng, CLASSES[label], area))
    whole = cover(outlines)
    image *= 1 - np.float32(rng.uniform(0, 0.5)) * _shadow(rng, whole)
    surface = texture(rng, *own)
    surface *= 1 + np.float32(rng.uniform(0, 0.25)) * ramp(rng)
    image += whole * (surface - image)
    visible = whole
    if rng.random() < 0.5:
        front = _front(rng, outlines[:1])
        palette = background[2:] if rng.random() < 0.5 else background[:2]
        image += front * (texture(rng, *palette) - image)
        visible = whole * (1 - front)
    image += np.float32(rng.uniform(0, 0.04)) * rng.standard_normal(image.shape, np.float32)
    return (image.clip(0, 1) * 255 + 0.5).astype(np.uint8), visible >= 0.5


def _distractor(rng: np.random.Generator, label: int, area: float) -> np.ndarray:
    """The cover of a silhouette of another class, small and whole or as large as the object and cut by the frame."""
    other = CLASSES[(label + rng.integers(1, len(CLASSES))) % len(CLASSES)]
    if rng.random() < 0.5:
        return cover(inside(rng, turned(rng, other, area * rng.uniform(*_SMALL))))
    return cover(cut_by_the_frame(rng, turned(rng, other, area * rng.uniform(0.6, 1.0))))


def _front(rng: np.random.Generator, filled: Sequence[np.ndarray]) -> np.ndarray:
    """The cover of what stands in front of the object; nothing if after some tries it would hide too little or too much."""
    whole = cover(filled)
    rows, columns = (whole >= 0.5).nonzero()
    for _ in range(8):
        place = rng.integers(len(rows))
        centre = np.array([columns[place], rows[place]], float)
        front = cover(bar(rng, centre) if rng.random() < 0.4 else blob(rng, centre, 4, 12))
        if _HIDDEN[0] <= float((front * whole).sum() / whole.sum()) <= _HIDDEN[1]:
            return front
    return np.zeros_like(whole)


def _shadow(rng: np.random.Generator, silhouette: np.ndarray) -> np.ndarray:
    """The silhouette shifted by up to three pixels and blurred."""
    soft = np.roll(silhouette, rng.integers(-3, 4, 2), (0, 1))
    for axis in (0, 1):
        soft = (soft + np.roll(soft, 1, axis) + np.roll(soft, -1, axis)) / 3
    return soft
