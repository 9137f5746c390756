"""Does a map say where the object is and what the answer hangs on? Measures that need no eye."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.methods.attribution.relu_rules import as_python
from probe.model.batching import in_batches
from probe.model.model import Model

MARGIN = 0.03
"""Zhang et al. count a hit within 15 pixels of the object's box, in pictures of about 500: 3 % of the longer side."""


def near(masks: Tensor, *, margin: float = MARGIN) -> Tensor:
    """The boxes round the objects with everything no further from them than `margin` of the longer side: (n, h, w) bool."""
    reach = int(margin * max(masks.shape[1:]))
    across, down = masks.any(1), masks.any(2)
    lines = [side.cumsum(1).bool() & side.flip(1).cumsum(1).flip(1).bool() for side in (down, across)]
    grown = [F.max_pool1d(line[:, None].float(), 2 * reach + 1, 1, reach)[:, 0].bool() for line in lines]
    return grown[0][:, :, None] & grown[1][:, None]


def pointing(heat: Tensor, masks: Tensor, *, margin: float = MARGIN) -> Tensor:
    """Whether the highest pixel of each map lies in the object's box or near it: (n, h, w), (n, h, w) bool -> (n,) bool.

    A flat map points nowhere and misses. Boxes as in the paper: the middle of a ring is a hit.
    Zhang et al. 2018, section 4.2.
    """
    return peak_on(heat, near(masks, margin=margin))


def peak_on(heat: Tensor, masks: Tensor) -> Tensor:
    """Whether the highest pixel of each map lies on the mask itself: (n, h, w), (n, h, w) bool -> (n,) bool."""
    values = heat.flatten(1)
    hit = masks.to(heat.device).flatten(1).gather(1, values.argmax(1, keepdim=True))[:, 0]
    return hit & (values.amax(1) > values.amin(1))


def relevance_mass(heat: Tensor, masks: Tensor) -> Tensor:
    """The share of what speaks for the answer that lies on the object: (n,) in [0, 1], 0 for an empty map.

    Chance is the object's share of the image. Arras et al. 2022, section 3.3.
    """
    positive = heat.clamp(min=0).flatten(1)
    total = positive.sum(1)
    inside = (positive * masks.to(heat.device).flatten(1)).sum(1)
    return torch.where(
        total > 0, inside / total.clamp(min=torch.finfo(total.dtype).tiny), torch.zeros_like(total)
    )


def relevance_rank(heat: Tensor, masks: Tensor) -> Tensor:
    """The share of the K highest pixels that lie on the object, K being the object's size: (n,) in [0, 1].

    Arras et al. 2022, section 3.3.
    """
    masks = masks.to(heat.device).flatten(1)
    order = heat.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(order.shape[1], device=heat.device)
    sizes = masks.sum(1, keepdim=True)
    hits = (masks.gather(1, order) & (rank < sizes)).sum(1)
    return hits / sizes[:, 0].clamp(min=1)


def max_sensitivity(
    explain: Callable[[Tensor], Tensor],
    pixels: Tensor,
    maps: Tensor,
    *,
    radius: float,
    draws: int,
    rng: torch.Generator,
) -> Tensor:
    """How much a map changes, at most, under noise that is too small to see: (n,), 0 for not at all.

    explain: pixels -> maps; maps: those of the pixels themselves. radius: of the uniform noise, in pixel values.
    The change is the Euclidean distance over the length of the map. Yeh et al. 2019, definition 3.
    """
    worst = torch.zeros(len(pixels), device=pixels.device, dtype=maps.dtype)
    length = maps.flatten(1).norm(dim=1).clamp(min=torch.finfo(maps.dtype).tiny)
    for _ in range(draws):
        noise = (torch.rand(pixels.shape, generator=rng) * 2 - 1) * radius
        moved = explain((pixels + noise.to(pixels)).clamp(0, 1))
        worst = torch.maximum(worst, (moved - maps).flatten(1).norm(dim=1) / length)
    return worst


@torch.no_grad()
def insertion_deletion(
    model: Model,
    pixels: Tensor,
    classes: Tensor,
    heat: Tensor,
    background: Tensor,
    *,
    points: int,
    insert: bool,
) -> Tensor:
    """The probability of `classes` while the pixels are taken away, or put in, in the order of the map.

    heat: (n, h, w); equal values go in reading order. background: (n, c, h, w), what a pixel is when it is away.
    insert: begin with the background and put the highest pixels in first; else take the highest away first.
    Returns (n, points) for shares 0 to 1 of the pixels, equally spaced. Petsiuk et al. 2018, section 3.2.
    """
    n, count = len(pixels), heat[0].numel()
    order = heat.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(count, device=order.device).expand(n, -1))
    rank = rank.view(n, 1, *heat.shape[1:])
    reached = torch.linspace(0, count, points, device=pixels.device).round().long()

    def some(pairs: Tensor) -> Tensor:
        image, point = pairs // points, pairs % points
        changed = rank[image] < reached[point][:, None, None, None]
        mixed = torch.where(changed == insert, pixels[image], background[image])
        return model.logits(mixed).softmax(1).gather(1, classes[image][:, None])[:, 0]

    with as_python():
        pairs = torch.arange(n * points, device=pixels.device)
        return in_batches(some, pairs, batch=model.batch()).view(n, points)


def auc(curve: Tensor) -> Tensor:
    """Area under curves (n, points) over [0, 1]: (n,)."""
    return ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1)
