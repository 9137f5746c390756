"""Stop `probe` by random signals at random moments, resume it, and compare with a run that nobody stopped.

`python tests/hostile/kills.py --count 100` does so a hundred times over report, train, transfer and robustness.
"""

import argparse
import functools
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

RECIPE = """title = "Kills"
[[analysis]]
name = "classify"
[[analysis]]
name = "filters"
[[analysis]]
name = "robustness"
max_images = 8
eps_steps = 2
targets_per_class = 1
attacks = ["noise", "pgd(steps=5)", "square(queries=20)"]
[[analysis]]
name = "neighbours"
"""
_IMAGES = ["--model", "lenet5-digits", "--data", "digits:test", "--device", "cpu"]
_QUICK = ["--max-images", "12", "--eps-steps", "3", "--targets-per-class", "1"]
COMMANDS: dict[str, list[str]] = {
    "report": ["report", "--recipe", "RECIPE", *_IMAGES, "--n", "40"],
    "robustness": ["robustness", *_IMAGES, "--n", "20", *_QUICK, "--attacks", "noise,pgd(steps=10)"],
    "train": ["train", "lenet5", "--data", "digits", "--epochs", "4", "--device", "cpu"],
    "transfer": [
        "transfer",
        "lenet5-mnist",
        "--data",
        "digits",
        "--n",
        "30",
        "--epochs",
        "3",
        "--device",
        "cpu",
    ],
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_TIMED = ("run.json", "report.json", "report.html", "card.toml", "history.json", "history.csv")
_EARLY = 1 / 3  # of the signals come within the first second


@dataclass(frozen=True)
class Kill:
    """Where and when a run is stopped. delay: seconds after its start."""

    command: str
    signal: signal.Signals
    delay: float


@dataclass(frozen=True)
class Reference:
    """A run that nobody stopped: digests of its files, and its seconds."""

    files: dict[str, str]
    seconds: float


def digests(out: Path) -> dict[str, str]:
    """The SHA-256 of each file in `out` that holds no times; of a history the numbers that are none."""
    files = {
        str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in _TIMED
    }
    for path in out.rglob("history.json"):
        history = json.loads(path.read_text())
        for epoch in history["epochs"]:
            for name in ("seconds", "images_per_second", "device_idle"):
                epoch.pop(name, None)
        files[str(path.relative_to(out))] = hashlib.sha256(json.dumps(history).encode()).hexdigest()
    return files


class Kills:
    """Runs commands in folders below `folder`. environment: of the processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "recipe.toml").write_text(RECIPE)
        home = str(Path(__file__).parents[2])
        threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": home, "PROBE_CACHE": str(folder / "cache")}
        self.environment = os.environ | threads

    def start(self, name: str, out: Path) -> subprocess.Popen[bytes]:
        """The command `name` in a process of its own, as from a terminal: a background job would ignore SIGINT."""
        command = [str(self.folder / "recipe.toml") if word == "RECIPE" else word for word in COMMANDS[name]]
        return subprocess.Popen(
            [sys.executable, "-m", "probe", *command, "--out", str(out)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=self.environment,
            cwd=self.folder,
            preexec_fn=functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
        )

    def finish(self, name: str, out: Path) -> Reference:
        """Run the command `name` to its end. Raises AssertionError where it fails."""
        started = time.monotonic()
        process = self.start(name, out)
        errors = process.communicate(timeout=3600)[1].decode(errors="replace")
        assert process.returncode == 0, f"exit {process.returncode}: {errors[-800:]}"
        return Reference(digests(out), time.monotonic() - started)

    @functools.cached_property
    def references(self) -> dict[str, Reference]:
        """Of each command; the first run of all fills the caches."""
        return {name: self.finish(name, self.folder / f"reference-{name}" / "out") for name in COMMANDS}

    def draw(self, number: int) -> Kill:
        """The kill of this number: a third of them in the first second, the others at any time of the run."""
        rng = random.Random(f"kill {number}")
        name = rng.choice(list(COMMANDS))
        early = rng.random() < _EARLY
        delay = rng.uniform(0, 1) if early else rng.uniform(0, 1.05 * self.references[name].seconds)
        return Kill(name, rng.choice(SIGNALS), delay)

    def run(self, kill: Kill) -> str:
        """Stop a run as `kill` says, resume it and compare; what is wrong, empty where nothing is."""
        out = Path(tempfile.mkdtemp(dir=self.folder)) / "out"
        try:
            process = self.start(kill.command, out)
            try:
                errors = process.communicate(timeout=kill.delay)[1]
            except subprocess.TimeoutExpired:
                process.send_signal(kill.signal)
                errors = process.communicate(timeout=300)[1]
            problem = _stopped_badly(process.returncode, kill.signal, errors.decode(errors="replace"))
            if problem:
                return problem
            files = self.finish(kill.command, out).files
            expected = self.references[kill.command].files
            differing = sorted(
                name for name in files.keys() | expected.keys() if files.get(name) != expected.get(name)
            )
            return f"other bytes after resuming: {differing}" if differing else ""
        except (AssertionError, subprocess.TimeoutExpired) as error:
            return f"{type(error).__name__}: {error}"
        finally:
            shutil.rmtree(out.parent, ignore_errors=True)


def _stopped_badly(code: int, sent: signal.Signals, errors: str) -> str:
    """What is wrong with how a process ended.

    Before probe has installed its handlers the signal itself ends the process, or Python with a traceback of its own
    start, in which no file of probe occurs.
    """
    own = {signal.SIGINT: 130, signal.SIGTERM: 143}.get(sent, -sent)
    if code in (1, -sent) and "KeyboardInterrupt" in errors and f"{os.sep}probe{os.sep}" not in errors:
        return ""
    if code not in (0, own, -sent):
        return f"exit {code} after {sent.name}: {errors[-800:]}"
    last = errors.strip().splitlines()[-1:]
    if "Traceback" in errors or (code == own > 0 and not last[0].startswith("probe: ")):
        return f"printed {errors[-800:]!r}"
    return ""


def main() -> int:
    """Run the kills, print what is wrong and a table; returns 1 if something is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="start no kill after so many")
    options = parser.parse_args()
    until = time.monotonic() + options.seconds
    counts: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="kills-") as folder:
        kills = Kills(Path(folder))
        for number in range(options.first, options.first + options.count):
            if time.monotonic() > until:
                break
            kill = kills.draw(number)
            problem = kills.run(kill)
            counts[f"{kill.command} {kill.signal.name}"] += 1
            counts["early" if kill.delay < 1 else "later"] += 1
            counts["failed" if problem else "same bytes"] += 1
            if problem:
                print(f"{number} {kill}: {problem}", flush=True)
    for name, count in sorted(counts.items()):
        print(f"{name:24}{count:6}")
    return int(counts["failed"] > 0)


if __name__ == "__main__":
    sys.exit(main())
