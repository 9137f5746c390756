"""Record every figure that the analyses report, and compare two records: for changes that must move no number.

    python tests/baseline.py record before.json
    python tests/baseline.py compare before.json after.json --renamed trust=attribution-tests

Recorded on one thread with the quick parameters, on three pretrained networks. Titles, captions and keys may change
between two records; values are compared in their order, arrays by their shape and by four sums over their entries.
"""

import argparse
import json
import os
import sys
import time
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

from probe.analyses import catalogue, find
from probe.data.sources import open_images
from probe.exhibits.result import Number, Result
from probe.model.loading import load
from probe.runs.execute import execute, make_analysis, prepare
from probe.runs.job import RunJob

MODELS = {
    "lenet5-mnist": ("mnist:test", 200, "lenet5-maxpool-mnist"),
    "resnet20-cifar10": ("cifar10:test", 60, "plain20-cifar10"),
    "vgg-shapes": ("shapes", 60, "vgg-shapes"),
}
"""Of each network the images, their number, and the second network of the analyses that compare."""

TOLERANCE = 1e-6


def record(models: list[str], analyses: list[str]) -> dict[str, Any]:
    torch.set_num_threads(1)
    records: dict[str, Any] = {}
    for name in models:
        data, n, second = MODELS[name]
        model, other = load(name, device="cpu"), load(second, device="cpu")
        images = prepare(model, open_images(data, n=n, seed=0))
        for analysis in analyses:
            started = time.perf_counter()
            job = RunJob(0, compare_to=[other])
            result = execute(make_analysis(analysis, **find(analysis).quick), model, images, job)
            records[f"{name} {analysis}"] = summary(result)
            print(f"{name} {analysis}: {time.perf_counter() - started:.1f} s", file=sys.stderr)
    return records


def summary(result: Result) -> dict[str, Any]:
    return {
        "numbers": {key: summary_of(number) for key, number in result.numbers.items()},
        "exhibits": [
            {"kind": type(exhibit).__name__, "title": exhibit.title, "values": summary_of(exhibit)}
            for exhibit in result.exhibits
        ],
        "warnings": len(result.warnings),
    }


def summary_of(value: Any) -> list[float]:
    """All the numbers in `value` in their order; an array by its shape and four sums."""
    if isinstance(value, np.ndarray):
        flat = np.nan_to_num(value.astype(np.float64).ravel(), posinf=1e9, neginf=-1e9)
        places = np.random.default_rng(0).standard_normal(flat.size)
        sums = [flat.sum(), np.abs(flat).sum(), float(flat @ places), float(np.abs(flat).max(initial=0))]
        return [*map(float, value.shape), *map(float, sums)]
    if isinstance(value, Number):
        return summary_of([value.value, value.low, value.high, value.n])
    if is_dataclass(value):
        return summary_of([getattr(value, field.name) for field in fields(value) if field.name != "facts"])
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return [number for part in value for number in summary_of(part)]
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        return [float(value)]
    return []


def differences(before: dict[str, Any], after: dict[str, Any], renamed: dict[str, str]) -> list[str]:
    """One line for every place where the second record, which may hold fewer results, differs from the first."""
    lines: list[str] = []
    former = {new: old for old, new in renamed.items()}
    for key, new in after.items():
        model, analysis = key.split(" ")
        old = before.get(f"{model} {former.get(analysis, analysis)}")
        lines += [
            f"{key}: {line}" for line in (_differences(old, new) if old else ["is not in the first record"])
        ]
    return lines


def _differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    lines = []
    if len(old["numbers"]) != len(new["numbers"]):
        lines.append(f"{len(old['numbers'])} numbers became {len(new['numbers'])}")
    for (was, before), (now, after) in zip(old["numbers"].items(), new["numbers"].items(), strict=False):
        if not _equal(before, after):
            lines.append(f"number {was!r} ({now!r}): {before} became {after}")
    if len(old["exhibits"]) != len(new["exhibits"]):
        lines.append(f"{len(old['exhibits'])} exhibits became {len(new['exhibits'])}")
    for before, after in zip(old["exhibits"], new["exhibits"], strict=False):
        if not _equal(before["values"], after["values"]):
            lines.append(f"exhibit {before['title']!r} ({after['title']!r}) has other values")
    if old["warnings"] != new["warnings"]:
        lines.append(f"{old['warnings']} warnings became {new['warnings']}")
    return lines


def _equal(before: list[float], after: list[float]) -> bool:
    return len(before) == len(after) and np.allclose(before, after, rtol=TOLERANCE, atol=TOLERANCE)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Record the figures of every analysis, or compare two records."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    recording = commands.add_parser("record")
    recording.add_argument("out", type=Path)
    recording.add_argument("--models", nargs="*", default=list(MODELS), choices=list(MODELS))
    recording.add_argument("--analyses", nargs="*", default=list(catalogue()), choices=list(catalogue()))
    comparing = commands.add_parser("compare")
    comparing.add_argument("before", type=Path)
    comparing.add_argument("after", type=Path)
    comparing.add_argument("--renamed", nargs="*", default=[], metavar="OLD=NEW")
    arguments = parser.parse_args()
    if arguments.command == "record":
        arguments.out.write_text(json.dumps(record(arguments.models, arguments.analyses)) + "\n")
        return 0
    before, after = (json.loads(path.read_text()) for path in (arguments.before, arguments.after))
    lines = differences(before, after, dict(pair.split("=") for pair in arguments.renamed))
    print("\n".join(lines) or f"{len(after)} results agree")
    return bool(lines)


if __name__ == "__main__":
    sys.exit(main())
