"""Which Python files may be run for the network that they define: those that the user has named or trusted."""

import hashlib
import json
import os
from pathlib import Path

from probe.errors import UserError
from probe.regular_files import read_text

RECORD = "trusted-code.json"


def record_path() -> Path:
    """Where trusted files are recorded: in the user's configuration, outside of every model folder."""
    base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(base) / "probe" / RECORD


def trust(path: Path) -> None:
    """Record that the user has chosen to run this file, as it is now; a file that changes asks again.

    Where the configuration cannot be written nothing is recorded, and the file will be asked about.
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
    """UserError that says what would run and how to allow it, unless the file is trusted."""
    if not trusted(path):
        state = "has changed since it was trusted" if str(path.resolve()) in _read() else "is not trusted"
        raise UserError(
            f"{card} would run the Python code in {path.resolve()}, which {state}: read it, then allow it by --trust-code"
        )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read() -> dict[str, str]:
    try:
        record = json.loads(read_text(record_path()))
    except (OSError, ValueError):  # none yet, or damaged: then nothing is trusted
        return {}
    return record if isinstance(record, dict) else {}
