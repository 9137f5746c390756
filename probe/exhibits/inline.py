"""Encode images for embedding in a page: lossless WebP, or lossy ones where the page would grow too large."""

import base64
import heapq
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PIL import Image

_WEBP_SIDE = 16383  # largest width and height of a WebP, in pixels

_DRAFT_PIXELS, _DRAFT_BYTES = 2_000_000, 1_000_000  # of the smallest draft: most larger images end up lossy
_DRAFT_RATIO = 0.8  # of the bytes of a draft that are left when it is compressed well
_FEW_COLOURS = 256
"""Images of so few are compressed well as fast as a draft, which has up to sixty times as many bytes."""

# Quality and scale of the lossy levels.
_LEVELS = ((85, 1.0), (75, 0.7), (70, 0.45), (60, 0.25), (40, 0.12))


@dataclass(frozen=True)
class Inline:
    """An encoded image. width, height: of the original, in pixels. lossy: whether detail was lost.

    draft: without loss, but encoded in a fifth of the time, with 20 to 50% more bytes.
    """

    data: bytes
    kind: str
    width: int
    height: int
    lossy: bool = False
    draft: bool = False

    @property
    def uri(self) -> str:
        """The image as a data: URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"

    @property
    def n_bytes(self) -> int:
        """Its size in a page, in bytes."""
        return 4 * ((len(self.data) + 2) // 3)


def encode_draft(image: Image.Image) -> Inline:
    """Encode an image without loss, a large one of many colours as a draft, which `refine` replaces."""
    large = image.width * image.height >= _DRAFT_PIXELS and max(image.size) <= _WEBP_SIDE
    if large and image.getcolors(_FEW_COLOURS) is None:
        file = io.BytesIO()
        image.save(file, "webp", lossless=True, quality=0, method=0)
        draft = Inline(file.getvalue(), "webp", *image.size, draft=True)
        if draft.n_bytes > _DRAFT_BYTES:
            return draft
    return encode(image)


def refine(draft: Inline) -> Inline:
    """The image of a draft, encoded well."""
    return encode(Image.open(io.BytesIO(draft.data)))


def encode(image: Image.Image, level: int = 0) -> Inline:
    """Encode an image. level: 0 is lossless, 1 to 5 give smaller files with less detail."""
    width, height = image.size
    if level == 0:
        kind = "png" if max(width, height) > _WEBP_SIDE else "webp"
        # Slower settings save a tenth of the bytes and take twice the time.
        options = {"lossless": True, "quality": 20, "method": 1} if kind == "webp" else {}
    else:
        quality, scale = _LEVELS[level - 1]
        scale = min(scale, _WEBP_SIDE / max(width, height))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            image = image.resize(size, Image.Resampling.LANCZOS)
        kind, options = "webp", {"quality": quality, "method": 2}
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Inline(file.getvalue(), kind, width, height, lossy=level > 0)


def fit_to_budget(
    images: Sequence[Inline], budget: int, refined: Callable[[Inline], Inline] = refine
) -> list[Inline]:
    """Images that were encoded without loss, so that they take at most `budget` bytes together, if that is possible.

    The largest is compressed further until the budget is met; then drafts that are still without loss are encoded well.
    refined: does that. Deterministic.
    """
    chosen = list(images)
    levels = [1] * len(chosen)
    _compress(chosen, images, levels, budget)
    for i, image in enumerate(chosen):
        if image.draft:
            chosen[i] = refined(image)
    _compress(chosen, images, levels, budget)
    return chosen


def _compress(chosen: list[Inline], images: Sequence[Inline], levels: list[int], budget: int) -> None:
    """Compress the largest of the `chosen` until they meet the budget. levels: the next ones to try, by image."""
    total = sum(map(_expected, chosen))
    largest = [(-_expected(image), i) for i, image in enumerate(chosen) if levels[i] <= len(_LEVELS)]
    heapq.heapify(largest)
    while total > budget and largest:
        _, i = heapq.heappop(largest)
        smaller = encode(Image.open(io.BytesIO(images[i].data)), levels[i])
        if smaller.n_bytes < _expected(chosen[i]):  # diagrams may be smallest when lossless
            total += smaller.n_bytes - _expected(chosen[i])
            chosen[i] = smaller
        levels[i] += 1
        if levels[i] <= len(_LEVELS):
            heapq.heappush(largest, (-_expected(chosen[i]), i))


def _expected(image: Inline) -> int:
    """The size of an image in a page, of a draft about that of the image when it is encoded well."""
    return round(_DRAFT_RATIO * image.n_bytes) if image.draft else image.n_bytes
