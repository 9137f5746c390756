"""Processes that tests start, looked up in /proc."""

from pathlib import Path


def alive(pid: int) -> bool:
    """Whether a process runs: it exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
