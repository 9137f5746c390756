"""From a model, images and a recipe to a run directory with a report."""

import re
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.locks import exclusive
from probe.model.model import Model
from probe.reporting.html import Report, Section, write_html
from probe.reporting.recipes import Recipe, read_recipe
from probe.runs import provenance
from probe.runs.execute import prepare, result_key, run_or_load
from probe.runs.store import RunDirectory


@dataclass(frozen=True)
class ReportResult:
    """What a report came to. page: the HTML file. results: by folder name. failed: analyses that broke (our fault).

    notes: what was done to the images before anything saw them, such as files that were skipped.
    """

    page: Path
    results: dict[str, Result]
    reused: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def report(
    model: Model,
    images: Images,
    recipe: str | Path | Recipe = "quick",
    *,
    out: str | Path = "runs",
    seed: int = 0,
    compare_to: Sequence[Model] = (),
    strict: bool = False,
    quiet: bool = True,
) -> ReportResult:
    """Run every analysis of `recipe` and write one self-contained HTML page into a directory below `out`.

    The same call again goes on where it stopped, and reuses what is done. An analysis that cannot work on these
    images is left out and said so (strict: raises its UserError); one that breaks does not take the others along.
    """
    plan = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    images = prepare(model, images)
    names = _folders(plan.analyses)
    keys = [result_key(a, model, images, seed=seed, compare_to=compare_to) for a in plan.analyses]
    identity = provenance.digest([plan.title, names, keys])
    directory = _directory(Path(out), plan, model, images, identity)
    with exclusive(directory):
        return _report(
            RunDirectory(directory),
            plan,
            names,
            model,
            images,
            seed=seed,
            compare_to=compare_to,
            strict=strict,
            quiet=quiet,
        )


def _report(
    directory: RunDirectory,
    plan: Recipe,
    names: list[str],
    model: Model,
    images: Images,
    *,
    seed: int,
    compare_to: Sequence[Model],
    strict: bool,
    quiet: bool,
) -> ReportResult:
    """All analyses of `plan`, each in its folder of `directory`, and the page."""
    facts = _facts(plan, model, images, compare_to, seed)
    sections: list[Section] = []
    results: dict[str, Result] = {}
    outcome = ReportResult(directory.path / "report.html", results, notes=images.notes)
    with _display(quiet) as display:
        for name, analysis in zip(names, plan.analyses, strict=True):
            started = time.perf_counter()
            section = _section(name, analysis)
            try:
                result, reused = run_or_load(
                    analysis,
                    model,
                    images,
                    directory,
                    folder=name,
                    seed=seed,
                    compare_to=compare_to,
                    display=display,
                )
            except UserError as error:
                if strict:
                    raise
                outcome.left_out[name] = str(error)
                sections.append(Section(**section, error=f"Left out: {error}."))
                continue
            except OSError:
                raise
            except Exception as error:
                (directory.path / f"{name}.error.txt").write_text(traceback.format_exc(), encoding="utf-8")
                outcome.failed[name] = (
                    f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                )
                sections.append(Section(**section, error=f"This analysis broke: {outcome.failed[name]}"))
                continue
            seconds = time.perf_counter() - started
            results[name] = result
            if reused:
                outcome.reused.append(name)
            sections.append(
                Section(**section, result=result, reused=reused, seconds=None if reused else seconds)
            )
            facts["seconds"][name] = None if reused else round(seconds, 3)
    facts["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    directory.record(facts)
    page = Report(
        title=plan.title,
        model=_card(model),
        data=_described(images),
        sections=sections,
        provenance=facts,
    )
    write_html(outcome.page, page)
    return outcome


def _folders(analyses: Sequence[Analysis]) -> list[str]:
    """A folder name for each analysis: its own name, numbered from the second time on."""
    seen: dict[str, int] = {}
    names = []
    for analysis in analyses:
        seen[analysis.name] = seen.get(analysis.name, 0) + 1
        names.append(analysis.name if seen[analysis.name] == 1 else f"{analysis.name}-{seen[analysis.name]}")
    return names


def _directory(out: Path, plan: Recipe, model: Model, images: Images, identity: str) -> Path:
    what = plan.analyses[0].name if len(plan.analyses) == 1 else "report"
    words = [what, model.name, images.name]
    slug = "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[-40:] for word in words)
    return out / f"{slug}-{identity[:8]}"


def _section(name: str, analysis: Analysis) -> dict[str, Any]:
    return {
        "anchor": name,
        "title": analysis.title,
        "source": analysis.source,
        "question": analysis.question(),
        "parameters": analysis.model_dump(mode="json"),
    }


def _facts(
    plan: Recipe, model: Model, images: Images, compare_to: Sequence[Model], seed: int
) -> dict[str, Any]:
    return {
        "command": provenance.command_line(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe": plan.title,
        "analyses": [{"name": a.name, **a.model_dump(mode="json")} for a in plan.analyses],
        "seed": seed,
        "model": {"name": model.name, "digest": model.digest},
        "compare_to": [{"name": other.name, "digest": other.digest} for other in compare_to],
        "data": {
            "name": images.name,
            "digest": images.digest,
            "images": len(images),
            "notes": list(images.notes),
        },
        "machine": provenance.machine(model.device),
        "versions": provenance.versions(),
        "commit": provenance.commit(),
        "code": provenance.code_digest(),
        "seconds": {},
    }


def _card(model: Model) -> dict[str, Any]:
    card = model.card
    return {
        "name": model.name,
        "architecture": card.architecture,
        "parameters": f"{model.parameters:,}",
        "input": card.input.model_dump(mode="json"),
        "classes": list(model.classes),
        "training": card.training,
        "results": card.results,
        "limits": card.limits,
        "digest": model.digest,
    }


def _described(images: Images) -> dict[str, Any]:
    """What a reader should know of the images."""
    if not len(images):
        return {"images": "none: what was asked looks at the network alone"}
    truths = {"labels": images.labels, "masks": images.raw_masks, "boxes": images.raw_boxes}
    known = [name for name, truth in truths.items() if truth is not None]
    facts: dict[str, Any] = {
        "name": images.name,
        "images": len(images),
        "size": list(images.shape),
        "known": ", ".join(known) or "nothing but the pixels",
    }
    if images.labels is not None and images.classes:
        counts = images.labels.bincount(minlength=len(images.classes)).tolist()
        there = [count for count in counts if count]
        spread = f"{min(there)}" if min(there) == max(there) else f"{min(there)} to {max(there)}"
        facts["classes"] = f"{len(there)} of {len(counts)}, {spread} image{'' if spread == '1' else 's'} each"
    return facts | {"notes": list(images.notes)}


@contextmanager
def _display(quiet: bool) -> Iterator[Any]:
    """A rich progress display on a terminal's error stream; None where nobody watches."""
    import sys

    if quiet or not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as display:
        yield display
