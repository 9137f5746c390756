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

    def load(self, label: str) -> Arrays | None:
        """The chunk `label` as an earlier, interrupted call left it; None if there is none."""
        chunk = self._chunks().get(label)
        return None if chunk is None else dict(chunk)

    def save(self, label: str, arrays: Arrays) -> None:
        """Keep the chunk `label`."""
        self._chunks()[label] = dict(arrays)  # of which analyses may take columns out

    def _chunks(self) -> dict[str, Arrays]:
        if self._key is None:
            self._key = self._compute_key()
            for other in _UNFINISHED.keys() - {self._key}:
                del _UNFINISHED[other]
        return _UNFINISHED.setdefault(self._key, {})

    def clear(self) -> None:
        """Drop the chunks of a result that is complete."""
        _UNFINISHED.pop(self._key or "", None)
