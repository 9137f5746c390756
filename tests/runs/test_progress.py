"""Progress of a run: lines in a pipe, with the time left."""

import time

import pytest

from probe.runs.job import RunJob
from probe.runs.progress import LineDisplay, open_display


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_line_names_the_analysis_the_step_and_the_time_left() -> None:
    clock = Clock()
    display = LineDisplay(clock)
    display.section("robustness (9 of 16)")
    clock.now = 30
    assert display.line() == "robustness (9 of 16): running for 30 s"
    steps = RunJob(0, display=display).progress(range(40), "attacks")
    next(steps)
    assert display.line() == "robustness (9 of 16): attacks 0 of 40"
    for _ in range(10):
        clock.now += 6
        next(steps)
    assert display.line() == "robustness (9 of 16): attacks 10 of 40, about 3 min left"
    inner = RunJob(0, display=display).progress(iter("ab"), "steps of unknown number")
    next(inner)
    assert "attacks 10 of 40" in display.line(), "the outer loop counts"
    steps.close()
    inner.send(None)
    assert display.line() == "robustness (9 of 16): steps of unknown number 1"


def test_a_log_shows_life_while_a_single_step_takes_long(capsys: pytest.CaptureFixture[str]) -> None:
    with open_display(period=0.02) as display:
        assert display is not None
        display.section("classify")
        loop = display.start("images\n", 2)
        time.sleep(0.2)
        display.finish(loop)
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) >= 2
    assert set(err.splitlines()) <= {"classify: images\\n 0 of 2", "classify: running for 1 s"}


def test_a_quiet_run_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with open_display(quiet=True, period=0.01) as display:
        assert display is None
        time.sleep(0.05)
    assert capsys.readouterr() == ("", "")
