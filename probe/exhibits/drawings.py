"""Exhibits as they are drawn for pages and PDFs, and a folder that keeps them: what it holds is not drawn again."""

import hashlib
import io
import json
import os
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from probe.atomic_files import write_whole
from probe.errors import UserError
from probe.exhibits.exhibits import Array, Exhibit
from probe.exhibits.inline import Inline, encode, encode_draft, refine
from probe.exhibits.palette import Look
from probe.exhibits.storage import to_json
from probe.exhibits.vector_check import is_drawn_by_matplotlib
from probe.regular_files import open_regular

_LIBRARIES = ("matplotlib", "numpy", "pillow")
VECTOR_LIMIT = 500_000  # bytes of a vector figure
_TOO_LARGE = b""  # what is kept of a larger one
_DIGEST = 32  # bytes of the digest with which a file starts


class Drawings:
    """Draws exhibits and keeps the drawings. A context, at whose end all of them are kept.

    folder: where they are kept, by the digests of what is drawn and of the code that draws it; None: nowhere. A file
    that is damaged, or of other versions, is not used, and a folder that cannot be written is no error. The bytes are
    the same with and without the folder. All methods raise ValueError if an exhibit cannot be drawn.
    drafts: whether large images may be drafts, which `refined` replaces.
    """

    def __init__(self, folder: Path | None = None, *, drafts: bool = False) -> None:
        self._folder = folder
        self._encode = encode_draft if drafts else encode
        self._drafts = drafts
        self._paths: dict[Inline, Path] = {}  # of what replaces a draft
        self._pool = ThreadPoolExecutor(os.cpu_count())  # Pillow encodes without the interpreter's lock

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=error is not None)

    def vector(self, exhibit: Exhibit) -> bytes | None:
        """The light figure as SVG; None if that is large, because it holds photographs or thousands of points."""
        path = self._path(exhibit, "svg")
        stored = _read(path)
        if stored == _TOO_LARGE:
            return None
        if stored is not None and is_drawn_by_matplotlib(stored):
            return stored
        from probe.exhibits.static import svg  # matplotlib is slow to import and not always needed

        drawn = svg(exhibit)
        return _store(path, drawn if len(drawn) <= VECTOR_LIMIT else _TOO_LARGE) or None

    def jpeg(self, exhibit: Exhibit) -> bytes:
        """The light figure as JPEG."""
        path = self._path(exhibit, "jpg")
        stored = _read(path)
        if stored is not None:
            return stored
        from probe.exhibits.static import jpeg

        return _store(path, jpeg(exhibit))

    def image(self, exhibit: Exhibit, look: Look) -> "Future[Inline]":
        """The figure in pixels, without loss; it is encoded while others are drawn."""
        path = self._path(exhibit, f"{look}.webp")
        paths = {False: path}
        if self._drafts:
            # Files of their own, so that the bytes of a page do not depend on what else is stored.
            draft_path, final_path = (
                self._path(exhibit, f"{look}-{kind}.webp") for kind in ("draft", "final")
            )
            paths = {True: draft_path, False: final_path}
        for draft, file in paths.items():
            stored = _read(file)
            if stored is not None and (inline := _inline(stored)) is not None:
                future: Future[Inline] = Future()
                future.set_result(self._remembered(replace(inline, draft=draft), path))
                return future
        from probe.exhibits.static import pixels

        drawn = pixels(exhibit, look=look)

        def encoded() -> Inline:
            image = self._encode(drawn)
            _store(paths[image.draft], image.data)
            return self._remembered(image, path)

        return self._pool.submit(encoded)

    def refined(self, draft: Inline) -> Inline:
        """The image of a draft, encoded well; kept, too."""
        path = self._paths.get(draft)
        stored = _read(path)
        if stored is not None and (inline := _inline(stored)) is not None:
            return inline
        image = refine(draft)
        _store(path, image.data)
        return image

    def _remembered(self, image: Inline, path: Path | None) -> Inline:
        if image.draft and path is not None:
            self._paths[image] = path
        return image

    def _path(self, exhibit: Exhibit, kind: str) -> Path | None:
        return self._folder / f"{_digest(exhibit)}.{kind}" if self._folder is not None else None


def _store(path: Path | None, content: bytes) -> bytes:
    """Store `content` behind its digest, if there is a place for it; returns it."""
    if path is not None:
        with suppress(OSError):
            path.parent.mkdir(exist_ok=True)
            write_whole(path, hashlib.sha256(content).digest() + content)
    return content


def _read(path: Path | None) -> bytes | None:
    """What was stored at `path`; None if it is missing or damaged."""
    if path is None:
        return None
    try:
        with open_regular(path) as file:
            content = file.read()
    except (OSError, UserError):
        return None
    digest, content = content[:_DIGEST], content[_DIGEST:]
    return content if hashlib.sha256(content).digest() == digest else None


def _inline(content: bytes) -> Inline | None:
    """An encoded image; None if it is none."""
    try:
        with Image.open(io.BytesIO(content), formats=("WEBP", "PNG")) as image:
            return Inline(content, str(image.format).lower(), *image.size)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None


def _digest(exhibit: Exhibit) -> str:
    """Of all that determines its drawing: its content, and the code that draws it."""
    arrays: dict[str, Array] = {}
    content = {"exhibit": to_json(exhibit, "exhibit", arrays), "code": _code()}
    hashed = hashlib.sha256(json.dumps(content).encode())
    for name, array in arrays.items():
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()[:32]


@cache
def _code() -> str:
    """The digest of this package, and the versions of the libraries with which it draws."""
    files = sorted(Path(__file__).parent.rglob("*.py"))
    hashed = hashlib.sha256(b"".join(file.read_bytes() for file in files))
    return " ".join([hashed.hexdigest(), *(f"{name} {version(name)}" for name in _LIBRARIES)])
