"""Open the images that a spec such as `mnist:test` or `folder:PATH` names."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probe.data import digits, shapes
from probe.data.cache import Arrays, cache_folder, cached, load_cached
from probe.data.catalogue import Source, sources
from probe.data.file_store import FileStore
from probe.data.folders import open_folder
from probe.data.images import Images
from probe.data.subsample import sample_note, stratified_sample
from probe.errors import UserError, first_line, unknown
from probe.regular_files import open_regular, user_path

MOST_SHAPES = 100_000  # 1.6 GB in memory

__all__ = ["Source", "open_images", "sources"]


def open_images(
    source: Any,
    *,
    root: str | Path | None = None,
    n: int | None = None,
    seed: int = 0,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    download: bool = False,
) -> Images:
    """Open images by name, or create them from objects in memory.

    source: the name of a source with an optional split, `mnist:test`, or `folder:PATH`; or an array or tensor
        (n, c, h, w), bytes or floats in [0, 1], Pillow images, a torch Dataset or DataLoader (`in_memory.images_from`).
    root: the folder of the data sets; $PROBE_DATA if None. download: let torchvision download a missing set.
    n, seed: how many to sample (Images.take); `shapes` and `shapes-shortcut` draw as many as requested.
    labels: for a folder, "prefix" (each file name starts with its label) or the path of a CSV of file name and class; for
        images in memory, (n,) class numbers. classes: the names of these classes.

    Unreadable files of a folder are skipped, with a note. To find them, sets of up to 20,000 files are decoded when they
    are opened. Of larger sets only the files sampled by `n` are decoded; without `n` all headers are read and cached.

    Raises UserError for an unknown source or split, missing data, a folder without a readable image, and pixels outside
    [0, 1].
    """
    if n is not None and n < 1:
        raise UserError(f"n must be at least 1, got {n}")
    if isinstance(source, Images):
        return source if n is None else source.take(n, seed)
    if not isinstance(source, str | Path):
        from probe.data.in_memory import images_from

        return images_from(source, labels, classes=classes, n=n, seed=seed)
    spec = f"folder:{source}" if isinstance(source, Path) else source
    if labels is not None and not isinstance(labels, str | Path):
        raise UserError(
            f"labels of {spec} must be 'prefix' or the path of a CSV file, got {type(labels).__name__}"
        )
    if classes is not None:
        raise UserError(f"classes can only be set for images in memory; {spec} has its own class names")
    root = None if root is None else Path(root)
    name, _, rest = spec.partition(":")
    if name == "folder":
        if not rest:
            raise UserError("folder: needs a path after the colon, such as folder:photos")
        return open_folder(user_path(rest), spec, None if labels is None else str(labels), n, seed)
    if labels is not None:
        raise UserError(f"labels={labels} can only be set for folder:PATH; {name} has its own labels")
    table = sources()
    if name not in table:
        if spec and user_path(spec).exists():
            raise UserError(
                f"{spec!r} is not a data source: write folder:{spec} for the images in a folder or zip"
            )
        raise unknown("data source", name, table, hint="`probe list data` lists them.")
    splits = table[name].splits
    split = rest or (splits[0] if splits else "")
    if split and split not in splits:
        if not splits:
            raise UserError(f"{name} has no splits: write {name}, not {spec}")
        raise unknown(f"split of {name}", split, sorted(splits))
    spec = f"{name}:{split}" if split else name
    if name in ("shapes", "shapes-shortcut"):
        if n is not None and n > MOST_SHAPES:
            raise UserError(f"{name} draws at most {MOST_SHAPES:,} images, got n={n:,}")
        return _shapes(name, split, n, seed)
    if name == "digits":
        images = _digits(spec, split)
    elif name == "photos":
        images = _photos()
    elif name == "cifar10":
        images = _cifar10(spec, split, root, download, n, seed)
    else:
        images = _mnist(spec, name, split, root, download)
    return images if n is None else images.take(n, seed)


def _digits(spec: str, split: str) -> Images:
    pixels, labels = digits.read_digits()
    rows = digits.split_rows(labels)[split]
    return Images.from_tensor(
        torch.from_numpy(pixels[rows]).float().div(16)[:, None],
        torch.from_numpy(labels[rows]),
        classes=tuple("0123456789"),
        name=spec,
        ids=[f"{split}/{i}" for i in range(len(rows))],
    )


def _photos() -> Images:
    from sklearn.datasets import load_sample_images

    photos = load_sample_images()
    pixels = torch.from_numpy(np.stack(photos.images)).permute(0, 3, 1, 2)
    return Images.from_tensor(pixels, name="photos", ids=[Path(name).name for name in photos.filenames])


def _shapes(name: str, split: str, n: int | None, seed: int) -> Images:
    """The whole split from the cache, or `n` images of it, drawn again unless the split is cached."""
    draw = shapes.draw_shapes if name == "shapes" else shapes.draw_shortcut
    total = max(n or 0, shapes.SIZES[split])
    rows = torch.arange(total)
    chosen = (
        stratified_sample(shapes.labels_of(total), total, n, seed) if n is not None and n < total else rows
    )
    key = f"{name}-{split}-{shapes.VERSION}"
    if total > shapes.SIZES[split]:
        arrays = draw(split, rows.tolist())
    elif (whole := load_cached(key)) is not None or len(chosen) > total // 2:
        whole = whole or cached(key, lambda: draw(split, rows.tolist()))
        arrays = {part: array[chosen.numpy()] for part, array in whole.items()}
    else:
        arrays = draw(split, chosen.tolist())
    images = _from_arrays(
        f"{name}:{split}", shapes.CLASSES, arrays, [f"{split}/{i}" for i in chosen.tolist()]
    )
    if len(chosen) == total:
        return images
    return replace(images, notes=(sample_note(shapes.labels_of(total), chosen, total, seed),))


def _from_arrays(spec: str, classes: Sequence[str], arrays: Arrays, ids: Sequence[str]) -> Images:
    return Images.from_tensor(
        torch.from_numpy(arrays["pixels"]),
        torch.from_numpy(arrays["labels"]),
        classes=classes,
        name=spec,
        ids=ids,
        masks=torch.from_numpy(arrays["masks"]) if "masks" in arrays else None,
        boxes=torch.from_numpy(arrays["boxes"]) if "boxes" in arrays else None,
    )


def _mnist(spec: str, name: str, split: str, root: Path | None, download: bool) -> Images:
    from torchvision import datasets

    kind = datasets.MNIST if name == "mnist" else datasets.FashionMNIST
    data = _data_root(root)
    stem = "train" if split == "train" else "t10k"
    needed = Path(kind.__name__, "raw", f"{stem}-images-idx3-ubyte")
    folder = next((path for path in (data / name, data) if (path / needed).exists()), data / name)
    dataset = _torchvision(partial(kind, folder, train=split == "train"), name, folder / needed, download)
    classes = [c.split(" - ")[0] for c in dataset.classes] if name == "mnist" else dataset.classes
    return Images.from_tensor(
        dataset.data[:, None],
        dataset.targets,
        classes=classes,
        name=spec,
        ids=[f"{split}/{i}" for i in range(len(dataset.data))],
    )


def _cifar10(spec: str, split: str, root: Path | None, download: bool, n: int | None, seed: int) -> Images:
    from torchvision import datasets

    data = _data_root(root)
    layout = "cifar-10-batches-py"
    folder = next((path for path in (data / "cifar10", data) if (path / layout).is_dir()), data / "cifar10")
    zips = sorted((data / "cifar10").glob("*.zip"))
    if (folder / layout).is_dir() or (download and not zips and not (folder / split).is_dir()):
        make = partial(datasets.CIFAR10, folder, train=split == "train")
        dataset = _torchvision(make, "cifar10", folder / layout, download)
        return Images.from_tensor(
            torch.from_numpy(dataset.data).permute(0, 3, 1, 2),
            torch.tensor(dataset.targets),
            classes=dataset.classes,
            name=spec,
            ids=[f"{split}/{i}" for i in range(len(dataset.data))],
        )
    if zips:
        return _open_zip(zips[0], spec, split)
    if (folder / split).is_dir():
        return open_folder(folder / split, spec, None, None, seed)
    raise _missing("cifar10", f"{folder / layout}, {folder}/*.zip and {folder / split}")


def _open_zip(path: Path, spec: str, split: str) -> Images:
    """A zip of small images of one size, cached as arrays: decoding takes longer than most analyses."""
    with open_regular(path) as file:
        identity = hashlib.file_digest(file, "sha256").hexdigest()
    arrays = cached(f"zip-{split}-{identity[:24]}", partial(_decode_zip, path, spec, split))
    images = _from_arrays(spec, arrays["classes"].tolist(), arrays, arrays["ids"].tolist())
    lossy = all(name.lower().endswith((".jpg", ".jpeg")) for name in images.ids)
    note = (
        f"The images of {path.name} are JPEG-compressed: a network that was trained on lossless ones is less "
        "accurate on them."
    )
    return replace(images, notes=(*arrays["notes"].tolist(), *([note] if lossy else [])))


def _decode_zip(path: Path, spec: str, split: str) -> Arrays:
    images = open_folder(path / split, spec, None, None, 0)
    images.shape  # noqa: B018  raises UserError if the sizes differ
    if images.labels is None or not isinstance(images.store, FileStore):
        raise UserError(f"{path} should contain a folder per class under {split}/")
    return {
        "pixels": torch.stack(list(images.store.decoded(images.rows))).numpy(),
        "labels": images.labels.numpy(),
        "classes": np.array(images.classes),
        "ids": np.array([f"{split}/{name}" for name in images.ids]),
        "notes": np.array(images.notes, dtype=np.str_),
    }


def _torchvision(make: Callable[..., Any], name: str, needed: Path, download: bool) -> Any:
    """make(download=...), a data set of torchvision; UserError if `needed` is missing or the files are damaged."""
    if not needed.exists() and not download:
        raise _missing(name, str(needed))
    try:
        # The download prints a progress bar.
        with contextlib.redirect_stdout(io.StringIO()):
            return make(download=download and not needed.exists())
    except OSError as error:
        raise UserError(f"{name} could not be downloaded to {needed}: {error}") from None
    except (RuntimeError, ValueError, AssertionError, EOFError) as error:
        raise UserError(
            f"{name} at {needed} cannot be read: {first_line(error)}. Remove it and download it again"
        ) from None


def _missing(name: str, paths: str) -> UserError:
    return UserError(
        f"{name} was not found at {paths}: set the folder of your data sets with --data-root or $PROBE_DATA, or "
        "download it with --download"
    )


def _data_root(root: Path | None) -> Path:
    chosen = root or os.environ.get("PROBE_DATA") or cache_folder() / "data"
    return user_path(chosen)
