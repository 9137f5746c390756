"""A sample of `tests/hostile/kills.py`: runs that a signal stops are resumed to the same bytes."""

import signal
from pathlib import Path

import pytest

from tests.hostile.kills import COMMANDS, Kill, Kills, _stopped_badly


@pytest.mark.slow
def test_runs_that_a_signal_stops_are_resumed_to_the_same_bytes(tmp_path: Path) -> None:
    kills = Kills(tmp_path)
    sent = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL)
    for number, (name, which) in enumerate(zip(COMMANDS, sent, strict=True)):
        delay = 0.3 if number == 0 else 0.8 * kills.references[name].seconds
        kill = Kill(name, which, delay)
        assert kills.run(kill) == "", kill


def test_a_process_that_ends_badly_is_told_from_one_that_was_stopped() -> None:
    assert (
        _stopped_badly(143, signal.SIGTERM, "epoch 1/4\nprobe: terminated: finished parts were kept\n") == ""
    )
    assert _stopped_badly(-9, signal.SIGKILL, "") == ""
    assert _stopped_badly(0, signal.SIGINT, "") == "", "it had finished before"
    assert "exit 1" in _stopped_badly(1, signal.SIGINT, "internal error")
    assert "printed" in _stopped_badly(130, signal.SIGINT, "Traceback (most recent call last)\nprobe: x")
    assert "printed" in _stopped_badly(130, signal.SIGINT, "KeyboardInterrupt\n")
    start = 'File "/lib/python3.11/functools.py", line 276\nKeyboardInterrupt\n'
    assert _stopped_badly(1, signal.SIGINT, f"Traceback\n{start}") == "", "Python itself was starting"
    inside = start.replace("functools.py", "probe/cli/app.py")
    assert _stopped_badly(1, signal.SIGINT, f"Traceback\n{inside}")
