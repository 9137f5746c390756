"""Where does a map say that the object is? A box round its brightest region, and its overlap with the true one."""

import numpy as np
from scipy import ndimage
from torch import Tensor

Box = tuple[int, int, int, int]


def bounding_box(heat: Tensor, *, share: float = 0.2) -> Box | None:
    """The box round the heaviest connected region in which `heat` (h, w) is above `share` of its maximum.

    Returns left, top, right, bottom in pixels, the last two exclusive; None where the map is nowhere above 0.
    Zhou et al. 2016, section 3.2 (20 % of the maximum), who take the largest region: the heaviest is that with most
    heat in it, so that a faint stain never wins against a small bright spot. Selvaraju et al. 2017 take 15 %.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must lie in [0, 1), got {share:g}")
    values = heat.detach().cpu().numpy()
    peak = float(values.max())
    if not peak > 0:
        return None
    regions, _ = ndimage.label(values > share * peak)
    weights = np.bincount(regions.ravel(), weights=values.ravel())[1:]
    rows, columns = ndimage.find_objects(regions)[int(weights.argmax())]
    return columns.start, rows.start, columns.stop, rows.stop


def iou(a: Box, b: Box) -> float:
    """Area shared by two boxes over the area that either covers (IoU), in [0, 1].

    >>> iou((0, 0, 2, 2), (1, 0, 3, 2))
    0.3333333333333333
    """
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    both = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
    return shared / both if both else 0.0
