"""Read image files: list those of a folder or zip, check their headers, decode them. Without torch, which decoding processes do not load."""

import contextlib
import lzma
import os
import struct
import threading
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from probe.data.preprocess import MAX_PIXELS, Preprocess, Size
from probe.errors import UserError
from probe.regular_files import open_regular

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
MAX_SIDE = 2**16
MAX_BYTES = 512 * 2**20
LARGE = 2**24  # pixels above which images are decoded one at a time: conversions take several copies
_LARGE_LOCK = threading.RLock()
_FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
_GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OSError,  # of bz2 too
    RuntimeError,  # encrypted, or a compression that is not implemented
    EOFError,
    ValueError,
    LookupError,
    MemoryError,  # LZMA with a dictionary of 4 GiB
    struct.error,
)
"""What reading a damaged zip raises."""


class UnreadableFile(Exception):
    """A file cannot be used as an image; the message is the reason, in a few words."""


@dataclass(frozen=True)
class Archive:
    """The files under a folder or in a zip, by their names relative to it."""

    path: Path
    names: tuple[str, ...]
    opened: zipfile.ZipFile | None = None
    inside: str = ""

    @classmethod
    def open(cls, path: Path) -> "Archive":
        """List the images in `path`, sorted by name; hidden files are ignored.

        path: a folder, a zip, or a folder inside a zip, such as photos.zip/test. Raises UserError if it is neither.
        """
        if path.is_dir():
            return cls(path, _image_names(_files_below(path)))
        archive = next((p for p in (path, *path.parents) if p.exists() and not p.is_dir()), None)
        if archive is None:
            raise UserError(f"there is no folder or zip {path}")
        try:
            open_regular(archive).close()
            opened = zipfile.ZipFile(archive)
        except UserError:
            raise
        except _ZIP_ERRORS as error:
            reason = str(error) or type(error).__name__
            raise UserError(f"{archive} is neither a folder nor a readable zip: {reason}") from None
        inside = "" if archive == path else path.relative_to(archive).as_posix() + "/"
        names = (name.removeprefix(inside) for name in opened.namelist() if name.startswith(inside))
        return cls(path, _image_names(names), opened, inside)

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (self.path, self.names, self.opened is not None, self.inside)

    def read(self, name: str) -> bytes:
        """The bytes of one file. Raises UnreadableFile if it cannot be read."""
        try:
            if self.opened is not None:
                if self.opened.getinfo(self.inside + name).file_size > MAX_BYTES:
                    raise UnreadableFile("too large")
                return self.opened.read(self.inside + name)
            with open_regular(self.path / name) as file:
                if os.fstat(file.fileno()).st_size > MAX_BYTES:
                    raise UnreadableFile("too large")
                return file.read(MAX_BYTES)
        except UserError:
            raise UnreadableFile("not a regular file") from None
        except _ZIP_ERRORS as error:
            raise UnreadableFile(f"not readable ({type(error).__name__})") from None


def reopen(path: Path, names: tuple[str, ...], zipped: bool, inside: str) -> Archive:
    """Open an archive of another process, without listing its files again. Raises UserError if it cannot be read."""
    opened = None
    if zipped:
        file = path.parents[inside.count("/") - 1] if inside else path
        try:
            opened = zipfile.ZipFile(file)
        except _ZIP_ERRORS as error:
            raise UserError(f"{file} cannot be read: {error}") from None
    return Archive(path, names, opened, inside)


@dataclass(frozen=True)
class Header:
    """Channels (1 or 3) and size of an image file, after its orientation is applied."""

    channels: int
    size: Size


def read_header(data: bytes, *, whole: bool) -> Header:
    """Check an image without decoding it; whole: decode it to its end, at the lowest resolution. Raises UnreadableFile."""
    with _opened(data) as image, _turn(image):
        channels, size = 1 if image.mode in _GREY else 3, (image.height, image.width)
        if whole:
            # A JPEG is decoded at an eighth of its size but read to its last byte, which reveals truncation.
            image.draft(None, (1, 1))
            _load(image)
        if _orientation(image) in (5, 6, 7, 8):
            size = size[::-1]
        return Header(channels, size)


def decode(data: bytes, channels: int) -> Image.Image:
    """The image in `data` as "L" (one channel) or "RGB": upright by its EXIF orientation, transparency on white."""
    with _opened(data) as image, _turn(image):
        _load(image)
        turn = _TURNS.get(_orientation(image))
        upright = image if turn is None else image.transpose(turn)
        if upright.mode.startswith("I"):
            sixteen_bit = np.asarray(upright).astype(np.float64) / 257
            upright = Image.fromarray(sixteen_bit.round().clip(0, 255).astype(np.uint8))
        elif "transparency" in upright.info or upright.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
            upright = upright.convert("RGBA")
            background = Image.new("RGBA", upright.size, "white")
            upright = Image.alpha_composite(background, upright)
        return upright.convert("L" if channels == 1 else "RGB")


def read_pixels(archive: Archive, name: str, channels: int, preprocess: Preprocess) -> np.ndarray:
    """One file, decoded and preprocessed, as (c, h, w) bytes; raises UnreadableFile where it is no image."""
    array = np.asarray(preprocess.image(decode(archive.read(name), channels)))
    return array[None].copy() if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1))


def _opened(data: bytes) -> Image.Image:
    if not data:
        raise UnreadableFile("empty")
    try:
        image = Image.open(BytesIO(data), formats=_FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnreadableFile("too many pixels") from None
    except UnidentifiedImageError:
        raise UnreadableFile("not a png, jpeg, webp or bmp") from None
    except Exception as error:  # decoders raise errors of any kind on malformed bytes
        raise UnreadableFile(f"corrupt ({type(error).__name__})") from None
    if image.width * image.height > MAX_PIXELS or max(image.size) > MAX_SIDE:
        raise UnreadableFile("too many pixels")
    if image.width < 1 or image.height < 1:
        raise UnreadableFile("zero size")
    return image


def _turn(image: Image.Image) -> contextlib.AbstractContextManager[object]:
    """Large images are decoded one after the other, whatever the number of threads."""
    return _LARGE_LOCK if image.width * image.height > LARGE else contextlib.nullcontext()


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8. A PNG is read to its end for it, since EXIF data may come last there."""
    if image.format == "PNG" and "exif" not in image.info:
        _load(image)
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # unreadable EXIF data are ignored
        return 1


def _load(image: Image.Image) -> None:
    try:
        image.load()
    except Exception as error:
        truncated = "truncated" in str(error).lower()
        raise UnreadableFile("truncated" if truncated else f"corrupt ({type(error).__name__})") from None


def _image_names(names: Iterable[str]) -> tuple[str, ...]:
    """The names of image files that are not hidden, sorted."""
    return tuple(sorted(name for name in names if name.lower().endswith(SUFFIXES) and not _hidden(name)))


def _files_below(folder: Path) -> Iterator[str]:
    """The names of the files below a folder, relative to it, also behind links; of a million, without a Path for each."""
    skip = len(os.path.join(folder, ""))
    ancestors = {os.fspath(folder): (os.path.realpath(folder),)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        inside = parent[skip:].replace(os.sep, "/")
        prefix = f"{inside}/" if inside else ""
        yield from (prefix + name for name in names)
        above = ancestors.pop(parent)
        real = {name: os.path.realpath(os.path.join(parent, name)) for name in folders}
        folders[:] = [name for name in folders if real[name] not in above]  # others are links that lead back
        ancestors |= {os.path.join(parent, name): (*above, real[name]) for name in folders}


def _hidden(name: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in name.split("/"))
