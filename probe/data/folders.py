"""Open a folder or zip of images, with labels from its folders, file names or a CSV table."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from probe.data.file_store import check_files
from probe.data.image_files import Archive
from probe.data.images import MOST_CLASSES, Images
from probe.data.subsample import sample_note, stratified_sample
from probe.errors import UserError
from probe.regular_files import read_text, shortened, user_path
from probe.terminal import escaped

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
        raise UserError(f"{path} contains no images: supported formats are png, jpeg, webp and bmp")
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
    total, large = len(names), len(names) > MAX_CHECKED
    sampled = large and n is not None and n < total  # by their names: the others are not read
    labels, classes = _read_labels(names, labelling) if sampled else (None, None)
    sampling: tuple[str, ...] = ()
    if sampled:
        chosen = stratified_sample(labels, total, n, seed)
        sampling = (sample_note(labels, chosen, total, seed),)
        names = [names[row] for row in chosen.tolist()]
        labels = None if labels is None else labels[chosen]
    files, bad = check_files(archive, names, whole=len(names) <= MAX_CHECKED)
    if not files.names:
        raise _no_images(path, bad)
    if not sampled:
        labels, classes = _read_labels(files.names, labelling)
    elif labels is not None:
        labels = labels[torch.tensor([name not in bad for name in names])]
    ids = tuple(map(escaped, files.names))
    images = Images(escaped(spec), files, torch.arange(len(files)), ids, labels, classes, notes=sampling)
    if n is not None and not sampled:
        images = images.take(n, seed)
    if large and len(names) > MAX_CHECKED:
        notes.append(
            f"Of more than {MAX_CHECKED:,} files the headers are checked; a file whose size and time of change are "
            "those of an earlier listing is not read again."
        )
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
        return _class_numbers([number[0] for number in numbers if number], names), None
    else:
        cells = _read_table(user_path(labelling), names)
        if all(cell.isdecimal() for cell in cells):
            return _class_numbers(cells, names), None
    classes = tuple(sorted(set(cells)))
    if len(classes) > MOST_CLASSES:
        raise UserError(f"there are {len(classes):,} classes, but probe supports at most {MOST_CLASSES:,}")
    numbered = {name: i for i, name in enumerate(classes)}
    return torch.tensor([numbered[cell] for cell in cells]), tuple(map(escaped, classes))


def _class_numbers(numbers: Sequence[str], names: Sequence[str]) -> Tensor:
    """`numbers` as int64; UserError for those that are dates, times or the like, for which no class can be kept."""
    for number, name in zip(numbers, names, strict=True):
        # Their length first: Python takes no number of thousands of digits.
        if len(number.lstrip("0")) > len(str(MOST_CLASSES)) or int(number) >= MOST_CLASSES:
            raise UserError(
                f"{shortened(name)} is labelled {shortened(number)}, which is not a class number: use numbers from 0 to "
                f"{MOST_CLASSES - 1:,}"
            )
    return torch.tensor([int(number) for number in numbers])


def _read_table(path: Path, names: Sequence[str]) -> list[str]:
    """The second column of a CSV for each of `names`, which its first column gives with or without their folders."""
    try:
        text = read_text(path, what="a table of labels")
        rows = [
            [cell.strip() for cell in row] for row in csv.reader(io.StringIO(text, newline="")) if any(row)
        ]
    except (FileNotFoundError, csv.Error) as error:
        reason = "there is none" if isinstance(error, FileNotFoundError) else str(error)
        raise UserError(f"labels: {path} cannot be read ({reason}); give 'prefix' or a CSV file") from None
    invalid = next((row for row in rows if len(row) != 2 or not all(row)), None)
    if invalid is not None:
        raise UserError(
            f"{path} must have two columns, file name and class, got {shortened(','.join(invalid))!r}"
        )
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
    first = [escaped(text) for text in first]
    return ", ".join(first) + (f" and {len(names) - count:,} more" if len(names) > count else "")
