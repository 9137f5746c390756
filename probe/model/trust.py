"""The record of trusted Python files, which may be run because their user has named or trusted them."""

import hashlib
import json
import os
from pathlib import Path

from probe.errors import UserError
from probe.regular_files import TEXT_LIMIT, read_bytes, read_text

RECORD = "trusted-code.json"


def record_path() -> Path:
    """The file of the record, in the user's configuration folder, outside of every model folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "probe" / RECORD


def trust(path: Path) -> None:
    """Record that the user trusts this file with its present content; after a change it is no longer trusted.

    If the configuration folder cannot be written, nothing is recorded.
    """
    record = _read() | {str(path.resolve()): _digest(path)}
    target = record_path()
    temporary = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)


def trusted(path: Path) -> bool:
    """Whether this file, byte for byte, is recorded as trusted."""
    return _read().get(str(path.resolve())) == _digest(path)


def require_trust(path: Path, card: Path) -> None:
    """Raise UserError, with the file and how to trust it, unless it is trusted."""
    if not trusted(path):
        state = "has changed since it was trusted" if str(path.resolve()) in _read() else "is not trusted"
        raise UserError(
            f"{card} would run the Python code in {path.resolve()}, which {state}: read it, then trust it with --trust-code"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(read_bytes(path, limit=TEXT_LIMIT)).hexdigest()


def _read() -> dict[str, str]:
    try:
        record = json.loads(read_text(record_path()))
    except (OSError, ValueError):  # no record yet, or a damaged one: nothing is trusted
        return {}
    return record if isinstance(record, dict) else {}
