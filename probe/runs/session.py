"""Finished parts of a run that was interrupted in this process, so that the same call continues from them."""

from collections.abc import Callable

from probe.runs.store import Arrays

_UNFINISHED: dict[str, dict[str, Arrays]] = {}


class SessionChunks:
    """Where the chunks of one result are kept in memory until it is complete; those of one interrupted run at a time.

    key: computes the key of the result, and is called once there is a chunk.
    """

    def __init__(self, key: Callable[[], str]) -> None:
        self._compute_key = key
        self._key: str | None = None

    @property
    def count(self) -> int:
        """The number of chunks that are kept."""
        return len(_UNFINISHED.get(self._key or "", {}))

    def load_or_compute(self, label: str, compute: Callable[[], Arrays]) -> Arrays:
        """The chunk `label` as an earlier, interrupted call left it, else compute(), which is then kept."""
        if self._key is None:
            self._key = self._compute_key()
            for other in _UNFINISHED.keys() - {self._key}:
                del _UNFINISHED[other]
        chunks = _UNFINISHED.setdefault(self._key, {})
        if label not in chunks:
            chunks[label] = compute()
        return chunks[label]

    def clear(self) -> None:
        """Drop the chunks of a result that is complete."""
        _UNFINISHED.pop(self._key or "", None)
