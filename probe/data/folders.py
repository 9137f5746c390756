"""Open a folder or zip of images, with labels from its folders, file names or a CSV table."""

import csv
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from probe.data.file_store import Archive, check_files, recheck_files
from probe.data.images import Images
from probe.errors import UserError

MAX_CHECKED = 20_000  # larger sets are not decoded for checking when they are opened
_SPLITS = {"train", "test", "val", "valid", "validation"}


def open_folder(path: Path, spec: str, labelling: str | None, n: int | None, seed: int) -> Images:
    """The images below `path`, as Images called `spec`; unreadable ones are skipped, with a note.

    labelling: None takes the folders as classes, if there are any; "prefix" takes the number that file names start
    with; anything else is the path of a CSV of file name and class. n, seed: how many to sample.
    Raises UserError if no image can be read or the labels are incomplete.
    """
    archive = Archive.open(path)
    if not archive.names:
        raise UserError(f"{path} contains no images: png, jpeg, webp and bmp files are read")
    names, notes = list(archive.names), []
    top_folders = {name.partition("/")[0] for name in names if "/" in name}
    if labelling is None and top_folders and top_folders <= _SPLITS:
        raise UserError(
            f"{path} contains {' and '.join(sorted(top_folders))}: choose one of them, such as {path}/{min(top_folders)}"
        )
    if labelling is None and top_folders and (beside := [name for name in names if "/" not in name]):
        names = [name for name in names if "/" in name]
        verb = "was" if len(beside) == 1 else "were"
        notes.append(f"{_files(len(beside))} outside the class folders {verb} skipped.")
    whole = len(names) <= MAX_CHECKED
    files, bad = check_files(archive, names, whole=whole)
    if not files.names:
        raise _no_images(path, bad)
    labels, classes = _read_labels(files.names, labelling)
    images = Images(spec, files, torch.arange(len(files)), files.names, labels, classes)
    if n is not None:
        images = images.take(n, seed)
    if not whole and n is not None and len(images) <= MAX_CHECKED:
        late = recheck_files(files, images.rows.tolist())
        bad |= {files.names[row]: why for row, why in late.items()}
        if len(late) == len(images):
            raise _no_images(path, bad)
        images = images.select([i for i, row in enumerate(images.rows.tolist()) if row not in late])
    if bad:
        verb = "was" if len(bad) == 1 else "were"
        notes.append(f"{_files(len(bad))} could not be read and {verb} skipped: {_first(bad)}.")
    return replace(images, notes=(*notes, *images.notes))


def _read_labels(names: Sequence[str], labelling: str | None) -> tuple[Tensor | None, tuple[str, ...] | None]:
    """Labels and class names of the files `names`: by folder, by prefix or from a table."""
    if labelling is None:
        if "/" not in names[0]:
            return None, None
        cells: list[str] = [name.partition("/")[0] for name in names]
    elif labelling == "prefix":
        numbers = [re.match(r"\d+", Path(name).name) for name in names]
        if None in numbers:
            wrong = names[numbers.index(None)]
            raise UserError(f"labels=prefix needs file names that start with a number, got {wrong}")
        return torch.tensor([int(number[0]) for number in numbers if number]), None
    else:
        cells = _read_table(Path(labelling).expanduser(), names)
        if all(cell.isdecimal() for cell in cells):
            return torch.tensor([int(cell) for cell in cells]), None
    classes = tuple(sorted(set(cells)))
    numbered = {name: i for i, name in enumerate(classes)}
    return torch.tensor([numbered[cell] for cell in cells]), classes


def _read_table(path: Path, names: Sequence[str]) -> list[str]:
    """The second column of a CSV for each of `names`, which its first column gives with or without their folders."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file) if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"labels: {path} cannot be read ({error}); give 'prefix' or a CSV file") from None
    invalid = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if invalid is not None:
        raise UserError(f"{path} must have two columns, file name and class, got {','.join(invalid)!r}")
    known = {row[0]: row[1] for row in rows}
    cells = [known.get(name) or known.get(Path(name).name) for name in names]
    missing = [name for name, cell in zip(names, cells, strict=True) if cell is None]
    if missing:
        raise UserError(f"{path} has no row for {_first(missing)}")
    return [cell for cell in cells if cell is not None]


def _no_images(path: Path, bad: dict[str, str]) -> UserError:
    return UserError(f"{path} contains no readable images: {_first(bad)}")


def _files(count: int) -> str:
    return f"{count:,} file{'s' if count != 1 else ''}"


def _first(names: dict[str, str] | Sequence[str], count: int = 5) -> str:
    """The first names, each with its reason if there is one, and the number of the others."""
    first = [f"{name} ({names[name]})" if isinstance(names, dict) else name for name in list(names)[:count]]
    return ", ".join(first) + (f" and {len(names) - count:,} more" if len(names) > count else "")
