"""Images: pixels in [0, 1] with labels, class names, ids and, if known, masks and boxes."""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from typing import Any

import torch
from torch import Tensor

from probe.data.file_store import FileStore
from probe.data.preprocess import MAX_PIXELS, UNCHANGED, Preprocess, Size
from probe.data.subsample import sample_note, stratified_sample
from probe.data.tensor_store import TensorStore, raw_pixels
from probe.device import to_device
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid
from probe.exhibits.notebook import exhibit_html
from probe.exhibits.wording import counted, listed

MOST_CLASSES = 100_000
"""Class numbers lie below this: counts, names and colours are kept for each of them."""
_SHOWN = 24  # images that a notebook shows
_LUMA = (0.299, 0.587, 0.114)  # Rec. 601, as in Pillow


@dataclass(frozen=True)
class Batch:
    """Consecutive images: `positions` (b,) int64 in the set, `pixels` (b, c, h, w) in [0, 1], `labels` (b,) or None."""

    positions: Tensor
    pixels: Tensor
    labels: Tensor | None


@dataclass(frozen=True, eq=False, repr=False)
class Images:
    """Images in a fixed order, in memory or on disk. Immutable: methods return new Images.

    labels: (n,) int64 on the CPU, or None. classes: their names. ids: file names, or such as "test/123". rows: (n,)
    which images of `store`. notes: sentences on how the images were sampled and preprocessed since they were read.
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
        """Create Images from an (n, c, h, w) tensor or array: bytes, or floats in [0, 1].

        labels: (n,) whole numbers. masks: (n, h, w) bool. boxes: (n, 4) left, top, right, bottom.
        Raises UserError for pixels of another shape, empty, NaN or outside [0, 1], for labels outside the classes,
        and for labels, masks, boxes or ids that differ from the pixels in number or size.
        """
        raw = raw_pixels(torch.as_tensor(pixels))
        n, size = len(raw), tuple(raw.shape[2:])
        if labels is not None:
            labels = _labels(torch.as_tensor(labels), n, classes)
        if masks is not None and tuple((masks := torch.as_tensor(masks)).shape) != (n, *size):
            raise UserError(
                f"masks must have the shape {(n, *size)} to match the pixels, got {tuple(masks.shape)}"
            )
        if boxes is not None and tuple((boxes := torch.as_tensor(boxes)).shape) != (n, 4):
            raise UserError(
                f"boxes must have the shape {(n, 4)} (left, top, right, bottom), got {tuple(boxes.shape)}"
            )
        if ids is not None and len(ids) != n:
            raise UserError(f"there are {n} images, but {len(ids)} ids")
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

    def _repr_html_(self) -> str:
        """The first images, as a notebook shows them."""
        few = self.select(list(range(min(len(self), _SHOWN))))
        if not len(few):
            return escape(repr(self))
        if few.labels is not None and few.classes is not None:
            labels = [few.classes[label] for label in few.labels.tolist()]
        else:
            labels = [] if few.labels is None else [f"class {label}" for label in few.labels.tolist()]
        images = [
            convert_channels(pixels, 3 if self.store.channels == 3 else 1)[0].permute(1, 2, 0).numpy()
            for pixels in few._each()
        ]
        of = (
            f"The first {len(few)} of {counted(len(self))}."
            if len(few) < len(self)
            else f"{counted(len(self))}."
        )
        caption = " ".join([of, *self.notes])
        return exhibit_html(ImageGrid(title=repr(self), caption=caption, images=images, labels=labels))

    def _each(self) -> Iterator[Tensor]:
        """Every image by itself, (1, c, h, w): their sizes may differ."""
        for row in self.rows.split(1):
            yield next(iter(self.store.batches(row, 1, self.preprocess, torch.device("cpu"))))

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the batches; raises UserError if the images differ in size."""
        after = {self.preprocess.size(size) for size in self._sizes}
        if len(after) > 1:
            first = ", ".join(f"{h} x {w}" for h, w in sorted(after)[:3])
            raise UserError(
                f"the images of {self.name} differ in size ({first}, ...): preprocess them to one size, "
                "such as 'resize 224, centre crop 224'"
            )
        return (self.channels or self.store.channels, *after.pop())

    @cached_property
    def masks(self) -> Tensor | None:
        """(n, h, w) bool on the CPU, aligned with the pixels: True on the object."""
        return None if self.raw_masks is None else self.preprocess.masks(self.raw_masks)

    @cached_property
    def boxes(self) -> Tensor | None:
        """(n, 4) int64: left, top, right and bottom of the object, the last two exclusive."""
        return (
            None if self.raw_boxes is None else self.preprocess.boxes(self.raw_boxes, next(iter(self._sizes)))
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of content, order, labels and preprocessing; paths do not enter."""
        hasher = hashlib.sha256(self.store.digest(self.rows))
        channels = self.channels or self.store.channels
        facts = (len(self), tuple(self.ids), self.classes, str(self.preprocess), channels)
        hasher.update(repr(facts).encode())
        for annotation in (self.labels, self.raw_masks, self.raw_boxes):
            hasher.update(b"-" if annotation is None else annotation.contiguous().numpy().tobytes())
        return hasher.hexdigest()

    @property
    def no_class_comparison(self) -> str:
        """Why images of the same class cannot be compared with others, as a clause for a sentence; empty if they can."""
        if self.labels is None:
            return "The images have no labels"
        classes = int((self.labels.bincount() > 0).sum())
        if classes < 2:
            return "All images belong to one class"
        if len(self) < 2 * classes:
            return f"{len(self):,} images of {classes:,} classes are too few to compare classes"
        return ""

    def pixels(self, device: str | torch.device = "cpu") -> Tensor:
        """All images at once: (n, c, h, w) float32 in [0, 1]."""
        pixels = torch.empty((len(self), *self.shape), device=device)
        start = 0
        for batch in self.batches(256, device):
            pixels[start : start + len(batch.pixels)] = batch.pixels
            start += len(batch.pixels)
        return pixels

    def batches(self, size: int, device: str | torch.device = "cpu") -> Iterator[Batch]:
        """The images in order, `size` at a time; those on disk are decoded ahead, in threads or processes."""
        if size < 1:
            raise ValueError(f"the batch size must be at least 1, got {size}")
        channels, device, start = self.shape[0], torch.device(device), 0
        for pixels in self.store.batches(self.rows, size, self.preprocess, device):
            stop = start + len(pixels)
            labels = None if self.labels is None else to_device(self.labels[start:stop], device)
            yield Batch(torch.arange(start, stop), convert_channels(pixels, channels), labels)
            start = stop

    def bytes(self) -> Tensor | None:
        """The pixels as (n, c, h, w) uint8, such that value / 255 equals the pixels of the batches exactly.

        None if there are no such bytes: for images on disk or stored as floats, and after resizing or conversion from
        colour to grey, which give values between the grey levels.
        """
        if not isinstance(self.store, TensorStore) or self.store.raw.dtype != torch.uint8:
            return None
        blended = self.shape[0] < self.store.channels
        if blended or any(step.kind == "resize" for step in self.preprocess.steps):
            return None
        raw = self.preprocess.pixels(self.store.at(self.rows))
        return raw if raw.shape[1] == self.shape[0] else raw.expand(-1, self.shape[0], -1, -1).contiguous()

    def select(self, positions: Any) -> "Images":
        """The images at `positions`, in that order, or those where a boolean mask is True; positions may repeat."""
        chosen = torch.as_tensor(positions)
        chosen = chosen.nonzero()[:, 0] if chosen.dtype == torch.bool else chosen.long().reshape(-1).cpu()
        if len(chosen) and not -len(self) <= int(chosen.min()) <= int(chosen.max()) < len(self):
            raise IndexError(f"{self.name} has {len(self)} images: {chosen.tolist()[:8]} is out of range")
        chosen = chosen % max(1, len(self))
        return replace(
            self,
            rows=self.rows[chosen],
            ids=tuple(self.ids[i] for i in chosen.tolist()),
            labels=None if self.labels is None else self.labels[chosen],
            raw_masks=None if self.raw_masks is None else self.raw_masks[chosen],
            raw_boxes=None if self.raw_boxes is None else self.raw_boxes[chosen],
        )

    def take(self, n: int, seed: int = 0) -> "Images":
        """`n` images sampled with `seed`, the same number of each class to within one; all if there are no more than `n`."""
        if n < 1:
            raise UserError(f"n must be at least 1, got {n}")
        if n >= len(self):
            return self
        chosen = stratified_sample(self.labels, len(self), n, seed)
        note = sample_note(self.labels, chosen, len(self), seed)
        return replace(self.select(chosen), notes=(*self.notes, note))

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
        self._validate_areas(rule)
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
        """The labels in terms of a model's `classes`: matched by name, else by position, else removed, with a note."""
        model = tuple(classes)
        if self.labels is None or self.classes == model:
            return self
        if self.classes is None:
            if len(self) and int(self.labels.max()) >= len(model):
                reason = f"label {int(self.labels.max())} is not one of the model's {len(model)} classes"
                return self._unlabelled(reason)
            return replace(self, classes=model)
        own, others = [_plain(c) for c in self.classes], [_plain(c) for c in model]
        if own == others:
            return replace(self, classes=model)
        unique = {name: i for i, name in enumerate(others) if others.count(name) == 1}
        if all(name in unique for name in own):
            labels = torch.tensor([unique[name] for name in own])[self.labels]
            return replace(self, classes=model, labels=labels)
        if len(own) == len(others):
            first = next(i for i, name in enumerate(own) if name != others[i])
            note = (
                f"The class names of {self.name} differ from those of the model and were matched by position "
                f"({self.classes[first]} with {model[first]})."
            )
            return replace(self, classes=model, notes=(*self.notes, note))
        unmatched = next(c for c, name in zip(self.classes, own, strict=True) if name not in unique)
        return self._unlabelled(
            f"{unmatched!r} is not one of the model's {len(model)} classes, and the images have {len(own)}"
        )

    def __getstate__(self) -> dict[str, Any]:
        """What is pickled: of the store these images alone, with the digest if it is known."""
        cached = {"digest": self.digest} if "digest" in vars(self) else {}
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {**fields, **cached, "store": self.store.subset(self.rows), "rows": torch.arange(len(self))}

    def require_readable(self) -> None:
        """Raise UserError, with a path, for images on disk that cannot be read on this machine."""
        self.store.require_readable()

    def _unlabelled(self, reason: str) -> "Images":
        note = f"The labels of {self.name} were ignored: {reason}."
        return replace(self, labels=None, classes=None, notes=(*self.notes, note))

    def _validate_areas(self, rule: Preprocess) -> None:
        """UserError for an image that a step of `rule` would blow up beyond what is decoded."""
        for row, name in zip(self.rows.tolist(), self.ids, strict=True) if rule.grows(self._sizes) else ():
            (size,) = self.store.sizes_of(torch.tensor([row]))
            after = self.preprocess.size(size)
            if step := rule.grows([after]):
                raise UserError(
                    f"resizing {name}, {after[0]} x {after[1]} pixels, to a shorter side of {step.side} would produce more "
                    f"than {MAX_PIXELS:,} pixels: remove it, or crop it first"
                )

    @cached_property
    def _sizes(self) -> set[Size]:
        return self.store.sizes_of(self.rows)


def no_images(shape: tuple[int, int, int]) -> Images:
    """The empty Images for analyses that examine the network alone. shape: (channels, height, width)."""
    return Images.from_tensor(torch.zeros(1, *shape), name="no images").select([])


def _preprocessing_note(sizes: set[Size], rule: Preprocess, before: int, after: int) -> str:
    """The note on what `rule` did to images of `sizes`. before, after: numbers of channels."""
    parts = rule.describe(sizes)
    if before == 1 < after:
        parts.append("repeated over three channels")
    if after == 1 < before:
        parts.append("converted to grey (Rec. 601 luma)")
    size = "{} x {}".format(*next(iter(sizes))) if len(sizes) == 1 else "Differently sized"
    return f"{size} {'grey' if before == 1 else 'colour'} images were {listed(parts)}."


def convert_channels(pixels: Tensor, channels: int) -> Tensor:
    """(n, c, h, w) with `channels` channels, 1 or 3: grey is repeated, colour becomes grey by Rec. 601 luma."""
    if pixels.shape[1] == channels:
        return pixels
    if channels == 3:
        return pixels.repeat(1, 3, 1, 1)
    weights = to_device(torch.tensor(_LUMA), pixels.device)
    return (pixels * weights[:, None, None]).sum(1, keepdim=True).clamp_(0, 1)


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in " _-")


def _labels(labels: Tensor, n: int, classes: Sequence[str] | None) -> Tensor:
    """`labels` as (n,) int64 on the CPU; UserError if they are not `n` class numbers."""
    if tuple(labels.shape) != (n,) or labels.is_floating_point():
        raise UserError(f"labels must be {n} whole numbers, got {labels.dtype} {tuple(labels.shape)}")
    labels = labels.long().cpu()
    highest = (len(classes) if classes is not None else MOST_CLASSES) - 1
    if int(labels.min()) < 0 or int(labels.max()) > highest:
        worst = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise UserError(f"labels must lie in 0 to {highest:,}, got {worst}")
    return labels
