"""Which pictures are looked at? Pixels in [0, 1] with labels, class names and, where known, masks and boxes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from probe.data.file_store import FileStore
from probe.data.preprocess import UNCHANGED, Preprocess, Size
from probe.data.subsample import sample_note, stratified_sample
from probe.data.tensor_store import TensorStore, raw_pixels
from probe.device import to_device
from probe.errors import UserError

_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as Pillow and most grey data sets have it


@dataclass(frozen=True)
class Batch:
    """Consecutive images: `positions` (b,) int64 in the set, `pixels` (b, c, h, w) in [0, 1], `labels` (b,) or None."""

    positions: Tensor
    pixels: Tensor
    labels: Tensor | None


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Pictures in a fixed order, in memory or on the disk; every change gives new Images.

    labels: (n,) int64 on the CPU, or None. classes: what the labels mean. ids: file name or "test/123".
    notes: full sentences that say what was done to the pictures since they were read.
    """

    name: str
    store: TensorStore | FileStore
    rows: Tensor
    ids: Sequence[str]
    labels: Tensor | None = None
    classes: tuple[str, ...] | None = None
    raw_masks: Tensor | None = None
    raw_boxes: Tensor | None = None
    preprocess: Preprocess = UNCHANGED
    channels: int | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_tensor(
        cls,
        pixels: Any,
        labels: Any = None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "images",
        ids: Sequence[str] | None = None,
        masks: Any = None,
        boxes: Any = None,
    ) -> "Images":
        """Images from an (n, c, h, w) tensor or array: bytes, or floats in [0, 1].

        labels: (n,) whole numbers. masks: (n, h, w) bool. boxes: (n, 4) left, top, right, bottom.
        Raises UserError for another number of axes, no image at all, NaN or values outside [0, 1],
        labels that are no class, and anything that does not go with the pixels in number or size.
        """
        raw = raw_pixels(torch.as_tensor(pixels))
        n, size = len(raw), tuple(raw.shape[2:])
        if labels is not None:
            labels = _labels(torch.as_tensor(labels), n, classes)
        if masks is not None and tuple((masks := torch.as_tensor(masks)).shape) != (n, *size):
            raise UserError(f"masks must be {(n, *size)} as the pixels are, got {tuple(masks.shape)}")
        if boxes is not None and tuple((boxes := torch.as_tensor(boxes)).shape) != (n, 4):
            raise UserError(f"boxes must be {(n, 4)}: left, top, right, bottom, got {tuple(boxes.shape)}")
        if ids is not None and len(ids) != n:
            raise UserError(f"there are {n} images but {len(ids)} ids")
        return cls(
            name=name,
            store=TensorStore(raw),
            rows=torch.arange(n),
            ids=tuple(ids) if ids is not None else tuple(f"{name}/{i}" for i in range(n)),
            labels=labels,
            classes=tuple(classes) if classes is not None else None,
            raw_masks=None if masks is None else masks.bool().cpu(),
            raw_boxes=None if boxes is None else boxes.long().cpu(),
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"Images({self.name}, n={len(self)}, classes={len(self.classes) if self.classes else None})"

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what the batches give; a UserError where sizes still differ."""
        after = {self.preprocess.size(size) for size in self._sizes}
        if len(after) > 1:
            few = ", ".join(f"{h} x {w}" for h, w in sorted(after)[:3])
            raise UserError(
                f"the images of {self.name} differ in size ({few}, ...): bring them to one by a rule "
                "such as 'resize 224, centre crop 224'"
            )
        return (self.channels or self.store.channels, *after.pop())

    @cached_property
    def masks(self) -> Tensor | None:
        """(n, h, w) bool on the CPU, aligned with the pixels: where the object is."""
        return None if self.raw_masks is None else self.preprocess.masks(self.raw_masks)

    @cached_property
    def boxes(self) -> Tensor | None:
        """(n, 4) int64: left, top, right, bottom of the object, the last two exclusive."""
        return (
            None if self.raw_boxes is None else self.preprocess.boxes(self.raw_boxes, next(iter(self._sizes)))
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of content, order, labels and preprocessing; where the images lie does not enter."""
        found = hashlib.sha256(self.store.digest(self.rows))
        said = (
            len(self),
            tuple(self.ids),
            self.classes,
            str(self.preprocess),
            self.channels or self.store.channels,
        )
        found.update(repr(said).encode())
        for known in (self.labels, self.raw_masks, self.raw_boxes):
            found.update(b"-" if known is None else known.contiguous().numpy().tobytes())
        return found.hexdigest()

    def pixels(self, device: str | torch.device = "cpu") -> Tensor:
        """Everything at once: (n, c, h, w) float32 in [0, 1]."""
        everything = torch.empty((len(self), *self.shape), device=device)
        done = 0
        for batch in self.batches(256, device):
            everything[done : done + len(batch.pixels)] = batch.pixels
            done += len(batch.pixels)
        return everything

    def batches(self, size: int, device: str | torch.device = "cpu") -> Iterator[Batch]:
        """The images in order, `size` at a time; those on the disk are decoded ahead by threads."""
        if size < 1:
            raise ValueError(f"a batch has at least one image, got {size}")
        channels, device, start = self.shape[0], torch.device(device), 0
        for pixels in self.store.batches(self.rows, size, self.preprocess, device):
            stop = start + len(pixels)
            labels = None if self.labels is None else to_device(self.labels[start:stop], device)
            yield Batch(torch.arange(start, stop), _recoloured(pixels, channels), labels)
            start = stop

    def bytes(self) -> Tensor | None:
        """The pixels as (n, c, h, w) uint8, of which value / 255 is exactly what the batches give.

        None where there are no such bytes: on the disk, in floats, or where resizing or a change from
        colour to grey made values between the grey levels.
        """
        if not isinstance(self.store, TensorStore) or self.store.raw.dtype != torch.uint8:
            return None
        blended = self.shape[0] < self.store.channels
        if blended or any(step.kind == "resize" for step in self.preprocess.steps):
            return None
        raw = self.preprocess.pixels(self.store.at(self.rows))
        return raw if raw.shape[1] == self.shape[0] else raw.expand(-1, self.shape[0], -1, -1).contiguous()

    def select(self, indices: Any) -> "Images":
        """The images at `indices`, in that order; an index may come twice."""
        at = torch.as_tensor(indices)
        at = at.nonzero()[:, 0] if at.dtype == torch.bool else at.long().reshape(-1).cpu()
        if len(at) and not -len(self) <= int(at.min()) <= int(at.max()) < len(self):
            raise IndexError(f"{self.name} has {len(self)} images: {at.tolist()[:8]} does not lie in it")
        at = at % max(1, len(self))
        return replace(
            self,
            rows=self.rows[at],
            ids=tuple(self.ids[i] for i in at.tolist()),
            labels=None if self.labels is None else self.labels[at],
            raw_masks=None if self.raw_masks is None else self.raw_masks[at],
            raw_boxes=None if self.raw_boxes is None else self.raw_boxes[at],
        )

    def take(self, n: int, seed: int = 0) -> "Images":
        """`n` images drawn with `seed`, of each class the same number up to one; all when n is no less."""
        if n < 1:
            raise UserError(f"n must be at least 1, got {n}")
        if n >= len(self):
            return self
        chosen = stratified_sample(self.labels, len(self), n, seed)
        said = sample_note(self.labels, chosen, len(self), seed)
        return replace(self.select(chosen), notes=(*self.notes, said))

    def preprocessed(self, shape: tuple[int, int, int], preprocess: str) -> "Images":
        """The images at a model's channels, height and width, by the rule `preprocess`, batch by batch.

        Grey becomes colour by repeating the channel, colour becomes grey by Rec. 601 luma; masks and boxes are
        transformed along. Raises UserError if the rule cannot be parsed or does not lead to `shape`.
        """
        rule, expected = Preprocess.parse(preprocess), tuple(shape[1:])
        before = {self.preprocess.size(size) for size in self._sizes}
        wrong = next((size for size in sorted(before) if rule.size(size) != expected), None)
        if wrong is not None:
            got = rule.size(wrong)
            raise UserError(
                f"the preprocessing {preprocess!r} turns the {wrong[0]} x {wrong[1]} images of {self.name} into "
                f"{got[0]} x {got[1]}, but the model takes {expected[0]} x {expected[1]}: "
                f"'resize {max(expected)}, centre crop {max(expected)}' works for images of any size"
            )
        rule, native, now = rule.effective(before), self.store.channels, self.channels or self.store.channels
        if now != shape[0] and {now, shape[0]} != {1, 3}:
            raise UserError(f"{self.name} has {now} channels, but the model takes {shape[0]}")
        if not rule.steps and now == shape[0]:
            return self
        return replace(
            self,
            preprocess=Preprocess(self.preprocess.steps + rule.steps),
            channels=None if shape[0] == native else shape[0],
            notes=(*self.notes, _preprocessing_note(before, rule, now, shape[0])),
        )

    def matched(self, classes: Sequence[str]) -> "Images":
        """The labels in terms of a model's `classes`: by name, else by position, else dropped; notes say so."""
        model = tuple(classes)
        if self.labels is None or self.classes == model:
            return self
        if self.classes is None:
            if len(self) and int(self.labels.max()) >= len(model):
                why = f"label {int(self.labels.max())} is none of the model's {len(model)} classes"
                return self._unlabelled(why)
            return replace(self, classes=model)
        ours, theirs = [_plain(c) for c in self.classes], [_plain(c) for c in model]
        if ours == theirs:
            return replace(self, classes=model)
        once = {name: i for i, name in enumerate(theirs) if theirs.count(name) == 1}
        if all(name in once for name in ours):
            moved = torch.tensor([once[name] for name in ours])[self.labels]
            return replace(self, classes=model, labels=moved)
        if len(ours) == len(theirs):
            first = next(i for i, name in enumerate(ours) if name != theirs[i])
            said = (
                f"The class names of {self.name} are not those of the model: they were matched by "
                f"position ({self.classes[first]} stands for {model[first]})."
            )
            return replace(self, classes=model, notes=(*self.notes, said))
        strange = next(c for c, name in zip(self.classes, ours, strict=True) if name not in once)
        return self._unlabelled(
            f"{strange!r} is none of the model's {len(model)} classes, and there are {len(ours)} here"
        )

    def _unlabelled(self, why: str) -> "Images":
        said = f"The labels of {self.name} were left out: {why}."
        return replace(self, labels=None, classes=None, notes=(*self.notes, said))

    @cached_property
    def _sizes(self) -> set[Size]:
        return self.store.sizes_of(self.rows)


def no_images(shape: tuple[int, int, int]) -> Images:
    """What an analysis is given that looks at the network alone. shape: (channels, height, width)."""
    return Images.from_tensor(torch.zeros(1, *shape), name="no images").select([])


def _preprocessing_note(sizes: set[Size], rule: Preprocess, before: int, after: int) -> str:
    parts = rule.told(sizes)
    if before == 1 < after:
        parts.append("repeated over three channels")
    if after == 1 < before:
        parts.append("turned grey (Rec. 601 luma)")
    said = " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
    shown = "{} x {}".format(*next(iter(sizes))) if len(sizes) == 1 else "Differently sized"
    return f"{shown} {'grey' if before == 1 else 'colour'} images were {said}."


def _recoloured(pixels: Tensor, channels: int) -> Tensor:
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.repeat(1, 3, 1, 1)
    weights = to_device(torch.tensor(_LUMA), pixels.device)
    return (pixels * weights[:, None, None]).sum(1, keepdim=True).clamp_(0, 1)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _labels(labels: Tensor, n: int, classes: Sequence[str] | None) -> Tensor:
    if tuple(labels.shape) != (n,) or labels.is_floating_point():
        raise UserError(f"labels must be {n} whole numbers, got {labels.dtype} {tuple(labels.shape)}")
    labels = labels.long().cpu()
    highest = len(classes) - 1 if classes is not None else None
    if int(labels.min()) < 0 or (highest is not None and int(labels.max()) > highest):
        worst = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise UserError(f"labels must lie in 0 to {highest if highest is not None else '...'}, got {worst}")
    return labels
