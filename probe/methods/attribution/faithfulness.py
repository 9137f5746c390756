"""Faithfulness of attribution maps: pointing game, relevance mass and rank, insertion and deletion, sensitivity."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from probe.methods.attribution.scores import uncompiled
from probe.model.batching import in_batches
from probe.model.model import Model

MARGIN = 0.03
"""Zhang et al. count a hit within 15 pixels of the object's box, in images of about 500: 3 % of the longer side."""


def dilated_boxes(masks: Tensor, *, margin: float = MARGIN) -> Tensor:
    """The bounding boxes of the objects, dilated by `margin` of the longer side: (n, h, w) bool -> (n, h, w) bool."""
    reach = int(margin * max(masks.shape[1:]))
    across, down = masks.any(1), masks.any(2)
    lines = [side.cumsum(1).bool() & side.flip(1).cumsum(1).flip(1).bool() for side in (down, across)]
    dilated = [F.max_pool1d(line[:, None].float(), 2 * reach + 1, 1, reach)[:, 0].bool() for line in lines]
    return dilated[0][:, :, None] & dilated[1][:, None]


def pointing_game(maps: Tensor, masks: Tensor, *, margin: float = MARGIN) -> Tensor:
    """Whether the highest pixel of each map lies in the object's dilated box: (n, h, w), (n, h, w) bool -> (n,) bool.

    A constant map misses. Boxes as in the paper: the middle of a ring is a hit.
    Zhang et al. 2018, section 4.2.
    """
    return peak_in_mask(maps, dilated_boxes(masks, margin=margin))


def peak_in_mask(maps: Tensor, masks: Tensor) -> Tensor:
    """Whether the highest pixel of each map lies on the mask itself: (n, h, w), (n, h, w) bool -> (n,) bool."""
    values = maps.flatten(1)
    hit = masks.to(maps.device).flatten(1).gather(1, values.argmax(1, keepdim=True))[:, 0]
    return hit & (values.amax(1) > values.amin(1))


def relevance_mass(maps: Tensor, masks: Tensor) -> Tensor:
    """The fraction of the positive relevance that lies on the object: (n,) in [0, 1], 0 for an empty map.

    The chance level is the object's fraction of the image. Arras et al. 2022, section 3.3.
    """
    positive = maps.clamp(min=0).flatten(1)
    total = positive.sum(1)
    inside = (positive * masks.to(maps.device).flatten(1)).sum(1)
    return torch.where(
        total > 0, inside / total.clamp(min=torch.finfo(total.dtype).tiny), torch.zeros_like(total)
    )


def relevance_rank(maps: Tensor, masks: Tensor) -> Tensor:
    """The fraction of the K highest pixels that lie on the object, K being its number of pixels: (n,) in [0, 1].

    Arras et al. 2022, section 3.3.
    """
    masks = masks.to(maps.device).flatten(1)
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.arange(order.shape[1], device=maps.device)
    sizes = masks.sum(1, keepdim=True)
    hits = (masks.gather(1, order) & (rank < sizes)).sum(1)
    return hits / sizes[:, 0].clamp(min=1)


def max_sensitivity(
    attribute: Callable[[Tensor], Tensor],
    pixels: Tensor,
    maps: Tensor,
    *,
    radius: float,
    draws: int,
    rng: torch.Generator,
) -> Tensor:
    """The largest relative change of a map under small noise: (n,), 0 where it does not change.

    attribute: pixels -> maps; maps: those of the pixels themselves. radius: of the uniform noise, in pixel values.
    The change is the Euclidean distance over the norm of the map. Yeh et al. 2019, definition 3.
    """
    largest = torch.zeros(len(pixels), device=pixels.device, dtype=maps.dtype)
    norm = maps.flatten(1).norm(dim=1).clamp(min=torch.finfo(maps.dtype).tiny)
    for _ in range(draws):
        noise = (torch.rand(pixels.shape, generator=rng) * 2 - 1) * radius
        perturbed = attribute((pixels + noise.to(pixels)).clamp(0, 1))
        largest = torch.maximum(largest, (perturbed - maps).flatten(1).norm(dim=1) / norm)
    return largest


@torch.no_grad()
def insertion_deletion(
    model: Model,
    pixels: Tensor,
    classes: Tensor,
    maps: Tensor,
    background: Tensor,
    *,
    points: int,
    insert: bool,
) -> Tensor:
    """The probability of `classes` while pixels are inserted into the background or deleted, the highest of a map first.

    classes: (n,). maps: (n, h, w); equal values go in reading order. background: (n, c, h, w), values of deleted pixels.
    insert: begin with the background and insert pixels; otherwise begin with the image and delete them.
    Returns (n, points) for equally spaced fractions 0 to 1 of the pixels. Petsiuk et al. 2018, section 3.2.
    """
    n, count = len(pixels), maps[0].numel()
    order = maps.flatten(1).argsort(dim=1, descending=True, stable=True)
    rank = torch.empty_like(order)
    rank.scatter_(1, order, torch.arange(count, device=order.device).expand(n, -1))
    rank = rank.view(n, 1, *maps.shape[1:])
    changed_pixels = torch.linspace(0, count, points, device=pixels.device).round().long()

    def probabilities(pairs: Tensor) -> Tensor:
        image, point = pairs // points, pairs % points
        changed = rank[image] < changed_pixels[point][:, None, None, None]
        mixed = torch.where(changed == insert, pixels[image], background[image])
        return model.logits(mixed).softmax(1).gather(1, classes[image][:, None])[:, 0]

    with uncompiled():
        pairs = torch.arange(n * points, device=pixels.device)
        return in_batches(probabilities, pairs, batch=model.batch()).view(n, points)


def auc(curve: Tensor) -> Tensor:
    """Area under curves (n, points) over [0, 1]: (n,)."""
    return ((curve[:, 1:] + curve[:, :-1]) / 2).mean(1)
