"""Preprocessing: the rule on a card, such as "resize 256 bicubic, centre crop 224", that brings images to a model's size."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from PIL import Image

from probe.errors import UserError

if TYPE_CHECKING:  # processes that decode images start in a tenth of the time without torch
    from torch import Tensor

Size = tuple[int, int]  # height, width

_STEP = re.compile(r"(?:(resize) (\d+)(?: (bilinear|bicubic))?|(cent(?:re|er) crop|pad) (\d+))")
_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_LARGEST = 8192
MAX_PIXELS = 89_478_485
"""Of an image as it is decoded and after every step: where Pillow warns, a quarter of a GiB as RGB."""


@dataclass(frozen=True)
class Step:
    """One step of a rule: "resize" (shorter side), "centre crop" or "pad" (both sides) to `side` pixels.

    interpolation: of "resize", "bilinear" or "bicubic", both antialiased.
    """

    kind: str
    side: int
    interpolation: str = "bilinear"

    def size(self, size: Size) -> Size:
        """The size after this step of an image of `size`: a crop never enlarges, a pad never shrinks."""
        height, width = size
        if self.kind == "resize":
            shorter, longer = min(size), max(size)
            long = max(1, int(self.side * longer / shorter))
            return (self.side, long) if height <= width else (long, self.side)
        bound = min if self.kind == "centre crop" else max
        return bound(height, self.side), bound(width, self.side)

    def offset(self, size: Size) -> Size:
        """Rows and columns by which a crop (negative) or a pad (positive) shifts an image of `size`."""
        if self.kind == "resize":
            return 0, 0
        new = self.size(size)
        if self.kind == "pad":
            return (new[0] - size[0]) // 2, (new[1] - size[1]) // 2
        # Rounded like torchvision's CenterCrop, so that published accuracies are reproduced.
        return -round((size[0] - new[0]) / 2), -round((size[1] - new[1]) / 2)

    def __str__(self) -> str:
        return (
            f"{self.kind} {self.side}{'' if self.interpolation == 'bilinear' else f' {self.interpolation}'}"
        )


@dataclass(frozen=True)
class Preprocess:
    """A preprocessing rule: steps applied one after the other. The empty rule changes nothing."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def parse(cls, rule: str) -> "Preprocess":
        """Parse a rule such as "resize 256, centre crop 227"; raises UserError if it is invalid.

        >>> print(Preprocess.parse("resize 28 bicubic,  center crop 28, pad 32"))
        resize 28 bicubic, centre crop 28, pad 32
        >>> Preprocess.parse("")
        Preprocess(steps=())
        """
        steps = []
        for part in (" ".join(piece.lower().split()) for piece in rule.split(",") if rule.strip()):
            match = _STEP.fullmatch(part)
            side = int(match[2] or match[5]) if match else 0
            if match is None or not 1 <= side <= _LARGEST:
                raise UserError(
                    f"{part!r} is not a preprocessing step: write 'resize N', 'resize N bicubic', 'centre crop N' or "
                    f"'pad N' (1 to {_LARGEST} pixels), separated by commas, got {rule!r}"
                )
            kind = (match[1] or match[4]).replace("center", "centre")
            steps.append(Step(kind, side, match[3] or "bilinear"))
        return cls(tuple(steps))

    def __str__(self) -> str:
        return ", ".join(map(str, self.steps))

    def size(self, size: Size) -> Size:
        """Height and width after preprocessing an image of `size`."""
        for step in self.steps:
            size = step.size(size)
        return size

    def grows(self, sizes: Iterable[Size]) -> Step | None:
        """The first step that would enlarge an image of one of these `sizes` beyond the limit on pixels, or None."""
        current = set(sizes)
        for step in self.steps:
            current = {step.size(size) for size in current}
            if any(height * width > MAX_PIXELS for height, width in current):
                return step
        return None

    def effective(self, sizes: Iterable[Size]) -> "Preprocess":
        """This rule without the steps that change none of the images of these `sizes`."""
        current, effective = set(sizes), []
        for step in self.steps:
            after = {size: step.size(size) for size in current}
            if any(old != new for old, new in after.items()):
                effective.append(step)
            current = set(after.values())
        return Preprocess(tuple(effective))

    def pixels(self, pixels: "Tensor") -> "Tensor":
        """Apply to (n, c, h, w) pixels: float in [0, 1], or bytes where no step resizes."""
        from torch.nn import functional

        for step in self.steps:
            old = (pixels.shape[-2], pixels.shape[-1])
            new = step.size(old)
            if old == new:
                continue
            if step.kind == "resize":
                pixels = functional.interpolate(
                    pixels, new, mode=step.interpolation, antialias=True, align_corners=False
                ).clamp_(0, 1)
            else:
                top, left = step.offset(old)
                bottom, right = new[0] - old[0] - top, new[1] - old[1] - left
                pixels = functional.pad(pixels, (left, right, top, bottom))
        return pixels

    def masks(self, masks: "Tensor") -> "Tensor":
        """Apply to (n, h, w) bool masks: a pixel belongs to the object if at least half of it did."""
        import torch

        if not self.steps:
            return masks
        # Bilinear weights are not negative: those of a mask are the share of each new pixel that it covers.
        rule = Preprocess(tuple(replace(step, interpolation="bilinear") for step in self.steps))
        return torch.cat([rule.pixels(part[:, None].float())[:, 0] >= 0.5 for part in masks.split(1024)])

    def boxes(self, boxes: "Tensor", size: Size) -> "Tensor":
        """Apply to (n, 4) boxes in images of `size`: rounded outwards, clipped at the border, empty if outside."""
        import torch

        if not self.steps:
            return boxes
        scaled = boxes.double()
        for step in self.steps:
            new, (top, left) = step.size(size), step.offset(size)
            if step.kind == "resize":
                scaled = scaled * torch.tensor([new[1] / size[1], new[0] / size[0]] * 2, dtype=torch.double)
            scaled = scaled + torch.tensor([left, top] * 2, dtype=torch.double)
            size = new
            limit = torch.tensor([new[1], new[0]] * 2, dtype=torch.double)
            scaled = scaled.clamp(min=0).minimum(limit)
        # A millionth of a pixel absorbs rounding: 32 * (28 / 32) is 28, not 28.000000000000004.
        low, high = (scaled[:, :2] + 1e-6).floor(), (scaled[:, 2:] - 1e-6).ceil()
        return torch.cat([low, high.maximum(low)], dim=1).long()

    def image(self, image: Image.Image) -> Image.Image:
        """Apply to a PIL image, resized as in torchvision's reference preprocessing."""
        for step in self.steps:
            old = (image.height, image.width)
            new = step.size(old)
            if old == new:
                continue
            if step.kind == "resize":
                image = image.resize(new[::-1], _PILLOW[step.interpolation])
            else:
                top, left = step.offset(old)
                # PIL's crop fills what lies outside with zeros, so it pads too.
                image = image.crop((-left, -top, new[1] - left, new[0] - top))
        return image

    def describe(self, sizes: Iterable[Size]) -> list[str]:
        """What the steps did to images of these `sizes`, as parts of a sentence."""
        current, parts = set(sizes), []
        for step in self.steps:
            current = {step.size(size) for size in current}
            first = next(iter(current))
            size = f"to {first[0]} x {first[1]}" if len(current) == 1 else ""
            if step.kind == "resize":
                how = "resized bicubically" if step.interpolation == "bicubic" else "resized"
                parts.append(f"{how} {size or f'to a shorter side of {step.side}'}")
            else:
                verb = "cropped at the centre" if step.kind == "centre crop" else "padded"
                parts.append(f"{verb} {size or f'to {step.side}'}")
        return parts


UNCHANGED = Preprocess()
