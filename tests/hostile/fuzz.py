"""Run `probe` on hostile inputs, each in a process with limits on memory and time, and count what happens.

`make hostile` runs 10,000 and continues where an earlier, interrupted run of the same code has stopped.
"""

import argparse
import contextlib
import importlib
import io
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

SECONDS, BYTES = 10.0, 2 * 2**30
VERDICTS = ("refused", "accepted", "traceback", "executed", "hang", "lost", "left")
BAD = VERDICTS[2:]


@dataclass(frozen=True)
class Outcome:
    """What happened to one input. verdict: one of VERDICTS; `left` is a folder that a refused command left behind."""

    number: int
    kind: str
    verdict: str
    detail: str = ""


class Fuzzer:
    """Runs inputs one after the other in children of this process, which has imported what they need."""

    def __init__(self, base: Path) -> None:
        import torch

        import probe.cli
        import probe.cli.app
        import probe.model.importing
        import probe.reporting.report  # noqa: F401  imported once, here, for every child

        sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
        from probe.runs import provenance

        for recorded in (provenance.code_digest, provenance.versions, provenance.commit):
            recorded()  # cached, once for every child
        torch.set_num_threads(1)
        self.base = base
        modules = base / "modules.json"
        for name in json.loads(modules.read_text()) if modules.exists() else ():
            with contextlib.suppress(ImportError):
                importlib.import_module(name)

    def prepare(self) -> None:
        """Write the checkpoint, the model and the finished run from which inputs are made."""
        import torch
        from generators import run_command

        from probe.zoo import build

        self.base.mkdir(parents=True, exist_ok=True)
        torch.save(build("lenet5").state_dict(), self.base / "net.pth")
        adopt = ["adopt", str(self.base / "net.pth"), "--arch", "zoo:lenet5", "--size", "32"]
        classify = ["classify", "--model", "lenet5-digits", "--data", "digits:test", "--n", "4"]
        for command in (
            [*adopt, "--out", str(self.base / "model")],
            [*classify, "--out", str(self.base / "classify")],
            run_command(self.base / "runs"),
        ):
            code, text, _ = self._execute(command, self.base / "canary", limits=False)
            assert code == 0, text

    def run(self, number: int) -> Outcome:
        """Generate input `number`, run its command and return what happened."""
        from generators import generate

        folder = Path(tempfile.mkdtemp(prefix=f"hostile-{number}-"))
        try:
            kind, command = generate(number, folder, self.base)
            code, text, hung = self._execute(command, folder / "canary")
            verdict, detail = self._judged(kind, folder, code, text, hung)
            return Outcome(number, kind, verdict, f"{detail} {command}" if detail else "")
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _execute(self, command: list[str], canary: Path, *, limits: bool = True) -> tuple[int, str, bool]:
        """Exit code, what was printed to the error stream, and whether it had to be killed."""
        errors = canary.with_name("stderr")
        child = os.fork()
        if child == 0:
            _child(command, errors, limits)
        # The limit is on the time of the processor: a machine that is busy with other work is slow, not hanging.
        until = time.monotonic() + (8 * SECONDS if limits else 300)
        while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return -1, "", True
            time.sleep(0.005)
        text = errors.read_text(encoding="utf-8", errors="replace") if errors.exists() else ""
        code = os.waitstatus_to_exitcode(ended[1])
        return code, text, code == -signal.SIGXCPU

    def _judged(self, kind: str, folder: Path, code: int, text: str, hung: bool) -> tuple[str, str]:
        """The verdict, and what is wrong where something is."""
        if (folder / "canary").exists():
            return "executed", text[-500:]
        if hung:
            return "hang", f"more than {SECONDS:g} s"
        printed = text.rstrip("\n")
        if code not in (0, 2) or "Traceback" in text or (code == 2 and not printed.isprintable()):
            return "traceback", f"exit {code}: {text[-1500:]}"
        out = folder / "out"
        if kind == "run_folder" and not self._healed(out):
            return "lost", text
        if code == 2 and kind != "run_folder" and out.exists() and any(out.rglob("*")):
            return "left", f"{[str(p.relative_to(out)) for p in out.rglob('*')][:5]} {text}"
        return ("accepted" if code == 0 else "refused"), ""

    def _healed(self, out: Path) -> bool:
        """Whether results and arrays are again those of the run before it was damaged."""
        runs = self.base / "runs"
        names = [
            path.relative_to(runs) for path in runs.rglob("*") if path.name in ("result.json", "arrays.npz")
        ]
        return bool(names) and all(
            (out / name).is_file() and (out / name).read_bytes() == (runs / name).read_bytes()
            for name in names
        )


def _child(command: list[str], errors: Path, limits: bool) -> None:
    """Run `command` in this process, which ends with its exit code."""
    code = 70
    try:
        os.setsid()
        descriptor = os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, 2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr = io.TextIOWrapper(
            io.FileIO(2, "w"), encoding="utf-8", errors="backslashreplace", write_through=True
        )
        sys.stdout = io.TextIOWrapper(io.FileIO(1, "w"), encoding="utf-8", errors="backslashreplace")
        os.environ["PROBE_CACHE"] = str(errors.parent / "cache")
        os.environ["XDG_CONFIG_HOME"] = str(errors.parent / "config")
        os.chdir(errors.parent)
        if limits:
            size = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
            resource.setrlimit(resource.RLIMIT_AS, (size + BYTES, size + BYTES))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            seconds = int(SECONDS + time.process_time()) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        from probe.cli import main

        code = 0
        for one in _commands(command):
            code = code or main(one)
        if not limits:
            names = sorted(
                name for name in sys.modules if name.split(".")[0] not in ("__main__", "__mp_main__")
            )
            (errors.parent / "modules.json").write_text(json.dumps(names))
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _commands(words: list[str]) -> list[list[str]]:
    """The commands that a "then" separates."""
    from generators import THEN

    commands: list[list[str]] = [[]]
    for word in words:
        if word == THEN:
            commands.append([])
        else:
            commands[-1].append(word)
    return commands


def _work(base: Path, numbers: list[int], results: Path) -> None:
    fuzzer = Fuzzer(base)
    with results.open("a", encoding="utf-8") as file:
        for number in numbers:
            file.write(json.dumps(asdict(fuzzer.run(number))) + "\n")
            file.flush()


def finished(folder: Path) -> list[Outcome]:
    """The outcomes that earlier runs have written; a line that was cut off is left out."""
    outcomes = {}
    for path in sorted(folder.glob("worker-*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError, TypeError):
                outcome = Outcome(**json.loads(line))
                outcomes[outcome.number] = outcome
    return [outcomes[number] for number in sorted(outcomes)]


def table(outcomes: list[Outcome]) -> str:
    """Inputs of each kind by verdict."""
    lines = [f"{'':12}{'inputs':>9}" + "".join(f"{verdict:>11}" for verdict in VERDICTS)]
    for kind in [*sorted({outcome.kind for outcome in outcomes}), "all"]:
        counts = Counter(o.verdict for o in outcomes if kind in (o.kind, "all"))
        lines.append(f"{kind:12}{counts.total():9,}" + "".join(f"{counts[v]:11,}" for v in VERDICTS))
    return "\n".join(lines)


def main() -> int:
    """Run the inputs that are missing, print the table and the first failures; returns 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(".hostile"))
    options = parser.parse_args()

    from probe.runs.provenance import code_digest

    folder = options.results.absolute() / code_digest()[:12]
    numbers = range(options.first, options.first + options.count)
    done = {outcome.number for outcome in finished(folder)}
    left = [number for number in numbers if number not in done]
    context = multiprocessing.get_context("spawn")
    base = folder / "base"
    if not (base / "runs").exists():
        Fuzzer(base).prepare()
    workers = [
        context.Process(
            target=_work, args=(base, left[k :: options.workers], folder / f"worker-{k}.jsonl"), daemon=False
        )
        for k in range(options.workers if left else 0)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    outcomes = [outcome for outcome in finished(folder) if outcome.number in numbers]
    bad = [outcome for outcome in outcomes if outcome.verdict in BAD]
    for outcome in bad[:30]:
        print(f"{outcome.number} {outcome.kind} {outcome.verdict}: {outcome.detail[:600]}")
    print(table(outcomes))
    return int(bool(bad) or len(outcomes) < len(numbers))


if __name__ == "__main__":
    sys.exit(main())
