"""Image folders, zips, label tables and recipes that hang, fill memory or carry odd names are refused or skipped in one line."""

import io
import os
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.data.file_store import map_ahead
from probe.data.image_files import MAX_SIDE
from probe.data.images import MOST_CLASSES, Images
from probe.data.sources import open_images
from probe.data.subsample import stratified_sample
from probe.errors import UserError
from probe.exhibits.storage import load, save
from probe.model.model import Model
from probe.reporting.recipes import read_recipe
from probe.runs.execute import run

ONE_LINE = r"^[^\n]+$"


def png(height: int = 8, width: int = 8) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def declared(height: int, width: int) -> bytes:
    """A PNG of some 70 bytes that declares a size and holds no rows."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def special(path: Path, kind: str) -> None:
    """A FIFO, or a link to one or to a device that never ends."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "link to a fifo":
        os.mkfifo(path.with_name("the-fifo"))
        path.symlink_to(path.with_name("the-fifo"))
    else:
        path.symlink_to("/dev/zero")


KINDS = pytest.mark.parametrize("kind", ["fifo", "link to a fifo", "link to a device"])
if not hasattr(os, "mkfifo"):
    KINDS = pytest.mark.skip("there are no FIFOs here")


@KINDS
def test_what_is_no_regular_file_is_skipped_as_an_image(kind: str, tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png())
    special(tmp_path / "special.png", kind)
    images = open_images(f"folder:{tmp_path}")
    assert images.ids == ("good.png",)
    assert images.notes == ("1 file could not be read and was skipped: special.png (not a regular file).",)


@KINDS
@pytest.mark.parametrize("role", ["zip", "inside a zip", "labels", "recipe"])
def test_what_is_no_regular_file_is_refused_as_anything_else(kind: str, role: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "good.png").write_bytes(png())
    path = tmp_path / "special"
    special(path, kind)

    def opened() -> object:
        if role == "recipe":
            return read_recipe(str(path))
        if role == "labels":
            return open_images(f"folder:{tmp_path / 'images'}", labels=str(path))
        return open_images(f"folder:{path if role == 'zip' else path / 'test'}")

    with pytest.raises(UserError, match=r"^[^\n]*not a regular file[^\n]*$"):
        opened()


def test_a_label_table_and_a_recipe_have_a_limit(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png())
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UserError, match="larger than 64 MiB"):
        open_images(f"folder:{tmp_path}", labels=str(tmp_path / "large"))
    with pytest.raises(UserError, match="larger than 64 MiB"):
        read_recipe(tmp_path / "large")


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 20_000 + "]" * 20_000,
        "a = " + "9" * 5_000,
        '[[analysis]]\nname = "filters"\n' + "a." * 5_000 + "b = 1",
        "a." * 200_000 + "b = 1",
        "[ a " + '. "b"' * 200_000 + "]",
        "c = { d = 1, " + "'e' . " * 200_000 + "f = 1 }",
        '[[analysis]]\nname = "fgsm"\neps = "' + "1" * 400 + "/" + "3" * 400 + '"\nn = 1',
        '[[analysis]]\nname = "fgsm"\neps = "' + "1" * 5_000 + '/3"',
        '[[analysis]]\nname = "fgsm"\neps = "' + "1" * 400 + '/3"',
        '[[analysis]]\nname = "fgsm"\neps = "1e999999999/3"',
    ],
)
def test_a_recipe_that_is_deep_or_of_many_digits_is_one_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(text)
    with pytest.raises(UserError, match=ONE_LINE):
        read_recipe(tmp_path / "recipe.toml")


@pytest.mark.parametrize(
    "size", [(1, 80_000_000), (80_000_000, 1), (1, MAX_SIDE + 1), (60_000, 60_000), (2**31 - 1, 1)]
)
def test_an_image_that_declares_too_much_is_skipped_before_it_is_decoded(
    size: tuple[int, int], tmp_path: Path
) -> None:
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "large.png").write_bytes(declared(*size))
    images = open_images(f"folder:{tmp_path}")
    assert images.ids == ("good.png",)
    assert "large.png (too many pixels)" in images.notes[0] or "large.png (corrupt" in images.notes[0]


def test_a_thin_image_that_resizing_would_blow_up_is_refused_before_it_is_resized(tmp_path: Path) -> None:
    (tmp_path / "good.png").write_bytes(png())
    (tmp_path / "thin.png").write_bytes(png(1, 50_000))
    images = open_images(f"folder:{tmp_path}")
    with pytest.raises(
        UserError, match=r"^resizing thin\.png, 1 x 50000 pixels, to a shorter side of 224 [^\n]*$"
    ):
        images.preprocessed((3, 224, 224), "resize 224, centre crop 224")
    assert images.preprocessed((3, 224, 224), "centre crop 224, pad 224").shape == (3, 224, 224)


@pytest.mark.parametrize("number", ["20240101", "1716239022123", str(2**63), "9" * 60, str(MOST_CLASSES)])
def test_a_prefix_that_is_no_class_number_is_refused(number: str, tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(png())
    (tmp_path / f"{number}_x.png").write_bytes(png())
    with pytest.raises(UserError, match=rf"{number}[^\n]*99,999"):
        open_images(f"folder:{tmp_path}", labels="prefix", n=1)
    table = tmp_path / "labels.csv"
    table.write_text(f"0.png,0\n{number}_x.png,{number}\n")
    with pytest.raises(UserError, match=rf"{number}[^\n]*99,999"):
        open_images(f"folder:{tmp_path}", labels=str(table), n=1)


def test_a_class_number_of_thousands_of_digits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(png())
    (tmp_path / "labels.csv").write_text("0.png," + "7" * 10_000)
    with pytest.raises(UserError, match=r"^[^\n]{1,300}$"):
        open_images(f"folder:{tmp_path}", labels=str(tmp_path / "labels.csv"))
    with pytest.raises(UserError, match="99,999"):
        Images.from_tensor(torch.zeros(2, 1, 4, 4), torch.tensor([0, 2**62]))


def test_sampling_from_many_classes_takes_no_time_for_each_class() -> None:
    labels = torch.arange(200_000) % MOST_CLASSES
    started = time.perf_counter()
    chosen = stratified_sample(labels, len(labels), MOST_CLASSES, seed=0)
    assert time.perf_counter() - started < 5
    assert len(labels[chosen].unique()) == MOST_CLASSES


def test_file_and_class_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)
    with open(folder + b"/\xff.png", "wb") as file:
        file.write(png())
    images = open_images(f"folder:{tmp_path}")
    assert images.ids == ("caf\\xe9/\\xff.png",)
    assert images.classes == ("caf\\xe9",)
    assert images.pixels().shape == (1, 3, 8, 8)
    with open(folder + b"/\xfe.png", "wb") as file:
        file.write(b"damaged")
    notes = open_images(f"folder:{tmp_path}").notes
    assert "\\xfe.png" in notes[0]
    notes[0].encode()
    open_images(f"folder:{os.fsdecode(folder)}").name.encode()


def test_a_result_on_a_picture_whose_name_is_not_utf8_is_stored(tmp_path: Path, convnet: Model) -> None:
    picture = os.fsencode(tmp_path) + b"/\xff.png"
    with open(picture, "wb") as file:
        file.write(png())
    result = run("dream", convnet, image=os.fsdecode(picture), steps=1, octaves=1)
    save(result, tmp_path / "out")
    assert "\\xff.png" in load(tmp_path / "out").exhibits[0].caption


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_a_damaged_zip_gives_the_images_that_are_whole_or_one_line(method: int, tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", method) as archive:
        for index in range(3):
            archive.writestr(f"{index}.png", png(8 + index, 8))
    (tmp_path / "set.zip").write_bytes(whole.getvalue())
    undamaged = open_images(f"folder:{tmp_path / 'set.zip'}")
    originals = [undamaged.select([image]).pixels() for image in range(3)]
    read, refused = 0, 0
    rng = np.random.default_rng(method)
    for _ in range(40):
        content = bytearray(whole.getvalue())
        if rng.random() < 0.2:
            del content[int(rng.integers(len(content))) :]
        for _ in range(int(rng.integers(1, 8)) if content else 0):
            content[int(rng.integers(len(content)))] = int(rng.integers(256))
        (tmp_path / "set.zip").write_bytes(content)
        try:
            images = open_images(f"folder:{tmp_path / 'set.zip'}")
            for image in range(len(images)):
                pixels = images.select([image]).pixels()
                assert any(torch.equal(pixels, original) for original in originals)
                read += 1
        except UserError:  # one line, as every UserError
            refused += 1
    assert read
    assert refused


def test_threads_that_fail_end_the_iteration() -> None:
    def fail(item: int) -> int:
        raise UserError(f"no {item}")

    with pytest.raises(UserError, match="no 0"):
        list(map_ahead(fail, range(4)))
