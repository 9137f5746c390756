"""Provenance of a run: digests, versions, commit, machine and command."""

import hashlib
import json
import os
import platform
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import probe

_PACKAGE = Path(probe.__file__).parent
_RECORDED = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "openTSNE", "umap-learn")


def digest(value: Any) -> str:
    """SHA-256 of a value that JSON can represent, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def file_digests(path: Path) -> list[str]:
    """SHA-256 of a file, or of each regular file of a folder and of its folders by name; empty where there is none."""
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    digests = []
    for file in files:
        with file.open("rb") as content:
            digests.append(f"{file.name} {hashlib.file_digest(content, 'sha256').hexdigest()}")
    return digests


@cache
def code_digest() -> str:
    """SHA-256 of probe's own source, so that results of other code are never loaded."""
    hasher = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        hasher.update(path.relative_to(_PACKAGE).as_posix().encode())
        hasher.update(path.read_bytes())
    return hasher.hexdigest()


@cache
def versions() -> dict[str, str]:
    """Versions of Python, probe and the packages that compute numbers."""
    installed = {"probe": probe.__version__, "python": platform.python_version()}
    for name in _RECORDED:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


@cache
def commit() -> str | None:
    """The git commit of the checkout that probe runs from, with "+changes" if files differ; None without a checkout."""

    def git(*arguments: str) -> str:
        # Without optional locks, or a run that is killed here would leave index.lock in the checkout of its user.
        command = ["git", "--no-optional-locks", "-C", str(_PACKAGE.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != _PACKAGE.parent.resolve():
            return None
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "--", "probe") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def machine(device: torch.device) -> dict[str, Any]:
    """Device, threads, cores and operating system; the number of threads changes the order of sums."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else platform.processor() or platform.machine()
    )
    return {
        "device": str(device),
        "device name": name,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "system": platform.platform(terse=True),
    }


def command_line() -> str:
    """The command as it was typed on the command line."""
    name = Path(sys.argv[0]).name
    return " ".join(["python -m probe" if name == "__main__.py" else name, *sys.argv[1:]])
