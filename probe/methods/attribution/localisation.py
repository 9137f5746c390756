"""Weakly supervised localisation: the bounding box of an attribution map, and its overlap with the true one."""

import numpy as np
from torch import Tensor

Box = tuple[int, int, int, int]


def bounding_box(heatmap: Tensor, *, threshold: float = 0.2) -> Box | None:
    """The bounding box of the heaviest connected region in which `heatmap` (h, w) is above `threshold` of its maximum.

    Returns left, top, right, bottom in pixels, the last two exclusive; None where the map is nowhere above 0.
    Zhou et al. 2016, section 3.2 (20 % of the maximum), who take the largest region: the heaviest has the largest sum,
    so that a large faint region never wins against a small bright one. Selvaraju et al. 2017 take 15 %.
    Raises ValueError for a threshold outside [0, 1).
    """
    if not 0 <= threshold < 1:
        raise ValueError(f"threshold must lie in [0, 1), got {threshold:g}")
    values = heatmap.detach().cpu().numpy()
    peak = float(values.max())
    if not peak > 0:
        return None
    from scipy import ndimage  # not at the top: its import adds filters of warnings

    regions, _ = ndimage.label(values > threshold * peak)
    weights = np.bincount(regions.ravel(), weights=values.ravel())[1:]
    rows, columns = ndimage.find_objects(regions)[int(weights.argmax())]
    return columns.start, rows.start, columns.stop, rows.stop


def focused_box(
    heatmap: Tensor, *, threshold: float = 0.2, max_area: float = 0.75
) -> tuple[Box | None, float]:
    """`bounding_box`, with the threshold raised in steps of 0.1 while the box covers more than `max_area` of the map.

    A diffuse map has no object's box at 20 % of its maximum. Returns the box and the threshold that was used.
    """
    while True:
        box = bounding_box(heatmap, threshold=threshold)
        if box is None or area(box) <= max_area * heatmap.numel() or threshold + 0.1 >= 0.95:
            return box, threshold
        threshold = round(threshold + 0.1, 6)


def area(box: Box) -> int:
    """Pixels in a box."""
    return (box[2] - box[0]) * (box[3] - box[1])


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, in [0, 1].

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / both if both else 0.0
