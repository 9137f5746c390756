"""Encode images for embedding in a page: lossless WebP, or lossy ones where the page would grow too large."""

import base64
import heapq
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

_WEBP_SIDE = 16383  # largest width and height of a WebP, in pixels

# Quality and scale of the lossy levels.
_LEVELS = ((85, 1.0), (75, 0.7), (70, 0.45), (60, 0.25), (40, 0.12))


@dataclass(frozen=True)
class Inline:
    """An encoded image. width, height: of the original, in pixels. lossy: whether detail was lost."""

    data: bytes
    kind: str
    width: int
    height: int
    lossy: bool = False

    @property
    def uri(self) -> str:
        """The image as a data: URI."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"

    @property
    def n_bytes(self) -> int:
        """Its size in a page, in bytes."""
        return 4 * ((len(self.data) + 2) // 3)


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
        kind, options = "webp", {"quality": quality, "method": 3}
    file = io.BytesIO()
    image.save(file, kind, **options)
    return Inline(file.getvalue(), kind, width, height, lossy=level > 0)


def fitted(images: Sequence[Inline], budget: int) -> list[Inline]:
    """Images that were encoded without loss, so that they take at most `budget` bytes together, if that is possible.

    The largest is compressed further until the budget is met. Deterministic.
    """
    chosen = list(images)
    total = sum(image.n_bytes for image in chosen)
    largest = [(-image.n_bytes, i, 1) for i, image in enumerate(chosen)]
    heapq.heapify(largest)
    while total > budget and largest:
        _, i, level = heapq.heappop(largest)
        smaller = encode(Image.open(io.BytesIO(images[i].data)), level)
        if smaller.n_bytes < chosen[i].n_bytes:  # diagrams may be smallest when lossless
            total += smaller.n_bytes - chosen[i].n_bytes
            chosen[i] = smaller
        if level < len(_LEVELS):
            heapq.heappush(largest, (-chosen[i].n_bytes, i, level + 1))
    return chosen
