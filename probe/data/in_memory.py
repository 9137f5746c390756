"""Images made of what Python holds: arrays, tensors, Pillow images, a torch Dataset or a DataLoader."""

import io
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from probe.data.file_store import check_files
from probe.data.image_files import Archive
from probe.data.images import Images
from probe.data.subsample import sample_note, stratified_sample
from probe.data.tensor_store import raw_pixels
from probe.errors import UserError

MOST_BYTES = 4_000_000_000
"""Pixels that are held in memory; of a larger set, a sample is."""
_IMAGE_KEYS = ("image", "img", "pixel_values", "pixels", "x")
_LABEL_KEYS = ("label", "labels", "target", "y")


def images_from(
    source: Any,
    labels: Any = None,
    *,
    classes: Sequence[str] | None = None,
    n: int | None = None,
    seed: int = 0,
) -> Images:
    """Create Images from objects in memory, as bytes or as floats in [0, 1].

    source: an array or tensor (n, c, h, w), (n, h, w, c) or (n, h, w); a Pillow image; a list of arrays, tensors or Pillow
        images; a torch Dataset or DataLoader whose items are images or (image, label). Sizes may differ for Pillow images.
    labels: (n,) class numbers, for sources without labels. classes: their names (default: `source.classes`, if any).
    n, seed: how many to sample (Images.take); of a DataLoader or an iterable dataset, the first n.
    The global random state is preserved. Raises UserError for another kind of source, pixels outside [0, 1], and labels
    of another number.
    """
    kind = type(source).__name__
    if classes is None:
        classes = getattr(source, "classes", None) or getattr(
            getattr(source, "dataset", None), "classes", None
        )
        classes = tuple(map(str, classes)) if classes is not None else None
    if isinstance(source, Tensor | np.ndarray):
        pixels = _channels_first(torch.as_tensor(source))
        images = Images.from_tensor(pixels, labels, classes=classes, name="images")
        return images if n is None else images.take(n, seed)
    if isinstance(source, Image.Image):
        source = [source]
    if isinstance(source, list | tuple):
        return _from_items(list(source), labels, classes, "images", n, seed)
    with torch.random.fork_rng(devices=[]):  # a loader with shuffle=True draws from the global generator
        if isinstance(source, DataLoader | IterableDataset) or not hasattr(source, "__getitem__"):
            return _from_iterable(source, labels, classes, kind, n)
        if not hasattr(source, "__len__"):
            raise UserError(f"cannot create images from {kind}: it has no length")
        return _from_dataset(source, labels, classes, kind, n, seed)


def _from_dataset(
    dataset: Any, labels: Any, classes: Sequence[str] | None, name: str, n: int | None, seed: int
) -> Images:
    """Only the items that are sampled are read."""
    total = len(dataset)
    if total == 0:
        raise UserError(f"{name} is empty")
    rows, notes = torch.arange(total), ()
    if n is not None and n < total:
        known = labels if labels is not None else getattr(dataset, "targets", None)
        known = None if known is None else torch.as_tensor(known)
        if known is not None and (known.shape != (total,) or known.is_floating_point()):
            known = None
        rows = stratified_sample(known, total, n, seed)
        notes = (sample_note(known, rows, total, seed),)
        labels = None if labels is None else torch.as_tensor(labels)[rows]
    items = _limited(dataset[row] for row in rows.tolist())
    images = _from_items(items, labels, classes, name, None, seed)
    return replace(images, notes=(*images.notes, *notes))


def _from_iterable(
    source: Any, labels: Any, classes: Sequence[str] | None, name: str, n: int | None
) -> Images:
    """The first `n` images, or all of them."""
    if not isinstance(source, Iterable):
        raise UserError(
            f"cannot create images from {name}: pass a name such as digits:test, an array, a tensor, Pillow "
            "images, a torch Dataset or a DataLoader"
        )
    batched = isinstance(source, DataLoader) and source.batch_size is not None
    single = (item for batch in source for item in _unbatched(batch)) if batched else iter(source)
    items = _limited(single if n is None else islice(single, n))
    if not items:
        raise UserError(f"{name} is empty")
    images = _from_items(items, labels, classes, name, None, 0)
    if n is None:
        return images
    return replace(images, notes=(*images.notes, f"The first {len(images):,} images of the {name}."))


def _unbatched(batch: Any) -> Iterator[Any]:
    image, label = _split(batch)
    if not isinstance(image, Tensor) or image.ndim < 2:
        raise UserError(
            f"a batch of a DataLoader must contain a tensor of images, got {type(image).__name__}"
        )
    for index in range(len(image)):
        yield (image[index], None if label is None else label[index])


def _limited(items: Iterable[Any]) -> list[Any]:
    """The items in a list; UserError before they fill the memory."""
    taken, size = [], 0
    for item in items:
        taken.append(item)
        image, _ = _split(item)
        size += (
            image.nbytes
            if isinstance(image, Tensor | np.ndarray)
            else getattr(image, "width", 0) * getattr(image, "height", 0) * 3
        )
        if size > MOST_BYTES:
            raise UserError(
                f"{len(taken):,} of these images take more than {MOST_BYTES / 1e9:g} GB: sample some of them with n, such as n=1000"
            )
    return taken


def _split(item: Any) -> tuple[Any, Any]:
    """Image and label of an item of a data set; the label is None where it has none."""
    if isinstance(item, Mapping):
        image = next((item[key] for key in _IMAGE_KEYS if key in item), None)
        if image is None:
            raise UserError(
                f"an item of the data set has the keys {', '.join(map(str, item))}: the key of its image must be 'image'"
            )
        return image, next((item[key] for key in _LABEL_KEYS if key in item), None)
    if isinstance(item, list | tuple):
        if not item:
            raise UserError("an item of the data set is empty")
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _from_items(
    items: list[Any], labels: Any, classes: Sequence[str] | None, name: str, n: int | None, seed: int
) -> Images:
    """Images of a list of images or (image, label)."""
    if not items:
        raise UserError("the list of images is empty")
    parts = [_split(item) for item in items]
    if labels is None and all(label is not None for _, label in parts):
        labels = _labels_of([label for _, label in parts])
    images = [image for image, _ in parts]
    if all(isinstance(image, Image.Image) for image in images) and _differ(images):
        result = _of_sizes(images, labels, classes, name)
    else:
        stack = [_single(image) for image in images]
        sizes = sorted({tuple(image.shape) for image in stack})
        if len(sizes) > 1:
            raise UserError(
                f"the images differ in shape ({sizes[0]}, {sizes[1]}, ...): resize them to one size, or give them as Pillow images"
            )
        result = Images.from_tensor(torch.stack(stack), labels, classes=classes, name=name)
    return result if n is None else result.take(n, seed)


def _labels_of(labels: list[Any]) -> Tensor | None:
    """Class numbers of single labels; None where they are no whole numbers, such as boxes or several classes."""
    try:
        numbers = torch.as_tensor([label.item() if hasattr(label, "item") else label for label in labels])
    except (TypeError, ValueError, RuntimeError):
        return None
    return None if numbers.ndim != 1 or numbers.is_floating_point() else numbers


def _differ(images: list[Image.Image]) -> bool:
    return len({image.size for image in images}) > 1


def _of_sizes(images: list[Image.Image], labels: Any, classes: Sequence[str] | None, name: str) -> Images:
    """Pillow images of several sizes, held as PNG and decoded when they are needed."""
    memory = io.BytesIO()
    names = tuple(f"{index:06d}.png" for index in range(len(images)))
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_STORED) as archive:
        for file, image in zip(names, images, strict=True):
            encoded = io.BytesIO()
            _plain(image).save(encoded, "PNG", compress_level=1)
            archive.writestr(zipfile.ZipInfo(file), encoded.getvalue())
    store, bad = check_files(Archive(Path("memory"), names, zipfile.ZipFile(memory)), names, whole=False)
    if bad:
        file, reason = next(iter(bad.items()))
        raise UserError(f"image {int(file[:6])} cannot be used: {reason}")
    unlabelled = Images(name, store, torch.arange(len(store)), [f"{name}/{i}" for i in range(len(store))])
    if labels is None:
        return unlabelled
    # Checked as they are for pixels in memory.
    checked = Images.from_tensor(torch.zeros(len(store), 1, 1, 1), labels, classes=classes)
    return replace(unlabelled, labels=checked.labels, classes=checked.classes)


def _plain(image: Image.Image) -> Image.Image:
    """In grey or RGB, the transparent parts on white."""
    if image.mode in ("L", "RGB"):
        return image
    if image.mode in ("1", "I", "I;16", "F"):
        if image.mode in ("I", "I;16", "F"):
            raise UserError(
                f"a Pillow image of mode {image.mode} has no defined value range: convert it to an array in [0, 1]"
            )
        return image.convert("L")
    if "A" in image.getbands() or "transparency" in image.info:
        layered = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), layered).convert("RGB")
    return image.convert("RGB")


def _single(image: Any) -> Tensor:
    """One image as (c, h, w), bytes or floats in [0, 1]."""
    if isinstance(image, Image.Image):
        array = np.array(_plain(image))
        return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))
    if not isinstance(image, Tensor | np.ndarray):
        raise UserError(f"an image must be an array, a tensor or a Pillow image, got {type(image).__name__}")
    values = torch.as_tensor(image)
    if values.ndim == 2:
        values = values[None]
    if values.ndim != 3:
        raise UserError(
            f"an image must have the shape (c, h, w), (h, w, c) or (h, w), got {tuple(values.shape)}"
        )
    return raw_pixels(_channels_first(values[None]))[0]


def _channels_first(pixels: Tensor) -> Tensor:
    """(n, c, h, w) of that, of (n, h, w, c) or of (n, h, w)."""
    if pixels.ndim == 3:
        if pixels.shape[0] == 3 or pixels.shape[2] == 3:
            raise UserError(
                f"pixels of shape {tuple(pixels.shape)} could be one colour image or {pixels.shape[0]} grey images: pass "
                "pixels[None] for one colour image, or pixels[:, None] for grey images"
            )
        pixels = pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] in (1, 3):
        pixels = pixels.permute(0, 3, 1, 2)
    return pixels
