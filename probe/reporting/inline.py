"""Pictures inside a page: lossless WebP, and less than lossless only where they must fit."""

import base64
import heapq
import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

_TALLEST = 16383  # pixels that a WebP can have in either direction

# Quality and size of each level past the lossless one.
_LEVELS = ((85, 1.0), (75, 0.7), (70, 0.45), (60, 0.25), (40, 0.12))


@dataclass(frozen=True)
class Inline:
    """An encoded picture. width, height: of the original, in pixels. lossy: whether detail was given up."""

    data: bytes
    kind: str
    width: int
    height: int
    lossy: bool = False

    @property
    def uri(self) -> str:
        """The picture as a data: address."""
        return f"data:image/{self.kind};base64,{base64.b64encode(self.data).decode()}"

    @property
    def weight(self) -> int:
        """Bytes it takes in a page."""
        return 4 * ((len(self.data) + 2) // 3)


def encode(picture: Image.Image, level: int = 0) -> Inline:
    """Encode a picture for a page. level: 0 keeps every pixel; up to 5 trade detail for bytes."""
    width, height = picture.size
    if level == 0:
        kind = "png" if max(width, height) > _TALLEST else "webp"
        # A harder search gains a tenth in bytes and takes twice the time.
        options = {"lossless": True, "quality": 20, "method": 1} if kind == "webp" else {}
    else:
        quality, scale = _LEVELS[level - 1]
        scale = min(scale, _TALLEST / max(width, height))
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            picture = picture.resize(size, Image.Resampling.LANCZOS)
        kind, options = "webp", {"quality": quality, "method": 3}
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return Inline(file.getvalue(), kind, width, height, lossy=level > 0)


def encode_within(pictures: Sequence[Image.Image], budget: int) -> list[Inline]:
    """Encode pictures so that they take at most `budget` bytes together, if that is possible at all.

    The heaviest picture loses detail first, and no more is lost than is needed. Same pictures, same bytes.
    """
    chosen = [encode(picture) for picture in pictures]
    total = sum(picture.weight for picture in chosen)
    heaviest = [(-picture.weight, i, 1) for i, picture in enumerate(chosen)]
    heapq.heapify(heaviest)
    while total > budget and heaviest:
        _, i, level = heapq.heappop(heaviest)
        smaller = encode(pictures[i], level)
        if smaller.weight < chosen[i].weight:  # diagrams may be smallest when lossless
            total += smaller.weight - chosen[i].weight
            chosen[i] = smaller
        if level < len(_LEVELS):
            heapq.heappush(heaviest, (-chosen[i].weight, i, level + 1))
    return chosen
