"""Images that stay on disk: check their files, and decode them a batch at a time, ahead, in threads and processes."""

import contextlib
import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from math import prod
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from probe.data.decoders import DECODERS, Request
from probe.data.header_cache import Check, cached_checks
from probe.data.image_files import LARGE, Archive, UnreadableFile, read_header, read_pixels
from probe.data.preprocess import UNCHANGED, Preprocess, Size
from probe.device import to_device, usable_cores
from probe.errors import UserError

_GROUP = 8  # images that a thread or process decodes at a time, at most
_GROUP_PIXELS = 2**20
_MOST_DECODERS = 256
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class FileStore:
    """Images that stay on disk and are decoded a batch at a time."""

    archive: Archive
    names: tuple[str, ...]
    channels: int
    sizes: tuple[Size, ...]
    hashes: dict[str, bytes] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.names)

    def subset(self, rows: Tensor) -> "FileStore":
        """The images of `rows` alone, in order."""
        chosen = rows.tolist()
        names = tuple(self.names[row] for row in chosen)
        sizes = tuple(self.sizes[row] for row in chosen)
        hashes = {name: self.hashes[name] for name in names if name in self.hashes}
        return FileStore(replace(self.archive, names=names), names, self.channels, sizes, hashes)

    def require_readable(self) -> None:
        """Raise UserError, with its path, if the first file cannot be read or has other content than when it was listed."""
        for name in self.names[:1]:
            known = self.hashes.get(name)
            if self._file_hash(name) != known and known is not None:
                raise UserError(
                    f"{self.archive.path / name} differs from the file of the same name on the driver"
                )

    def sizes_of(self, rows: Tensor) -> set[Size]:
        """The distinct (height, width) of `rows`."""
        return {self.sizes[row] for row in rows.tolist()} or set(self.sizes[:1])

    def digest(self, rows: Tensor) -> bytes:
        """A hash of the bytes of the files in `rows`, in order; their paths do not enter."""
        names = [self.names[row] for row in rows.tolist()]
        missing = [name for name in dict.fromkeys(names) if name not in self.hashes]

        self.hashes.update(zip(missing, map_ahead(self._file_hash, missing), strict=True))
        return hashlib.sha256(b"".join(self.hashes[name] for name in names)).digest()

    def decoded(
        self, rows: Tensor, preprocess: Preprocess = UNCHANGED, *, window: int = 64
    ) -> Generator[Tensor, None, None]:
        """Each image, preprocessed, as (c, h, w) bytes; at most `window` of them are decoded ahead."""
        processes = decoding_processes()
        threads = max(processes, _workers())
        size = max(1, min(_GROUP, window // (2 * threads)))
        decode_group = partial(self._pixels, preprocess=preprocess, processes=processes)
        groups = map_ahead(decode_group, rows.split(size), max(1, window // size), threads=threads)
        with contextlib.closing(groups):
            for group in groups:
                yield from group

    def batches(
        self, rows: Tensor, size: int, preprocess: Preprocess, device: torch.device
    ) -> Iterator[Tensor]:
        """Decoded and preprocessed (b, c, h, w) pixels in [0, 1]; at most a batch and a few are in memory."""
        decoded = self.decoded(rows, preprocess, window=size + self._ahead(preprocess))
        with contextlib.closing(decoded):
            for start in range(0, len(rows), size):
                parts = [next(decoded) for _ in range(min(size, len(rows) - start))]
                yield to_device(torch.stack(parts), device).float().div_(255)

    def _pixels(self, rows: Tensor, preprocess: Preprocess, processes: int) -> list[Tensor]:
        names = [self.names[row] for row in rows.tolist()]
        # Large images are decoded one at a time, by whatever thread.
        large = any(prod(self.sizes[row]) > LARGE for row in rows.tolist())
        request = None if large else Request.of(self.archive, names, self.channels, preprocess)
        here = partial(self._decoded_here, preprocess=preprocess)
        decoded = DECODERS.decode(request, names, here, count=processes)
        return list(map(torch.from_numpy, decoded))

    def _ahead(self, preprocess: Preprocess) -> int:
        """Images decoded ahead of a batch: two groups for each thread, of fewer images where these are large."""
        pixels = max((prod(preprocess.size(size)) for size in self.sizes[:_GROUP]), default=1)
        return 2 * _workers() * max(1, min(_GROUP, _GROUP_PIXELS // pixels))

    def _decoded_here(self, name: str, preprocess: Preprocess) -> np.ndarray:
        """(c, h, w) bytes."""
        try:
            return read_pixels(self.archive, name, self.channels, preprocess)
        except UnreadableFile as error:
            raise _unreadable(self.archive, name, error) from None

    def _file_hash(self, name: str) -> bytes:
        try:
            return hashlib.sha256(self.archive.read(name)).digest()
        except UnreadableFile as error:
            raise _unreadable(self.archive, name, error) from None


def check_files(archive: Archive, names: Sequence[str], *, whole: bool) -> tuple[FileStore, dict[str, str]]:
    """The usable images among `names`, and the reason for each of the others.

    whole: decode them to the end. Without it what is known of the files of a folder is cached by their size and time of
    change.
    """

    def check(unknown: Sequence[str]) -> list[Check | str]:
        # Set outside the threads: warning filters belong to the process.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return list(map_ahead(partial(_check_file, archive, whole=whole), unknown))

    cacheable = not whole and archive.opened is None
    checks = cached_checks(archive.path, names, check) if cacheable else check(names)
    checked = dict(zip(names, checks, strict=True))
    good = {name: check for name, check in checked.items() if not isinstance(check, str)}
    bad = {name: reason for name, reason in checked.items() if isinstance(reason, str)}
    files = FileStore(
        archive,
        tuple(good),
        channels=max((channels for channels, *_ in good.values()), default=3),
        sizes=tuple((height, width) for _, height, width, _ in good.values()),
        hashes={name: digest for name, (*_, digest) in good.items()},
    )
    return files, bad


def _check_file(archive: Archive, name: str, *, whole: bool) -> Check | str:
    """Header and hash of a file, or the reason why it cannot be used."""
    try:
        data = archive.read(name)
        header = read_header(data, whole=whole)
        return header.channels, *header.size, hashlib.sha256(data).digest()
    except UnreadableFile as error:
        return str(error)


def map_ahead(
    function: Callable[[S], T], items: Sequence[S], window: int = 256, *, threads: int = 0
) -> Generator[T, None, None]:
    """`function` of each item in order, computed at most `window` items ahead, in threads (0: one for each core)."""
    pool = ThreadPoolExecutor(threads or _workers(), thread_name_prefix="probe-data")
    pending: deque[Future[T]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) >= window:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _unreadable(archive: Archive, name: str, error: UnreadableFile) -> UserError:
    return UserError(
        f"{archive.path}/{name} could not be decoded ({error}): repair or remove it and start again"
    )


def decoding_processes() -> int:
    """How many processes may decode images: $PROBE_DECODERS, else one for each core if there are several.

    Raises UserError for a variable that holds no number.
    """
    chosen = os.environ.get("PROBE_DECODERS", "")
    if chosen:
        if not chosen.isdecimal() or int(chosen) > _MOST_DECODERS:
            raise UserError(f"PROBE_DECODERS must be a whole number, 0 to {_MOST_DECODERS}, got {chosen!r}")
        return int(chosen)
    cores = _workers() // max(1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))  # torchrun's, on this machine
    return cores if cores > 1 else 0


def _workers() -> int:
    return min(16, usable_cores())
