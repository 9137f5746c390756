"""Run the analyses of a recipe and write a run directory with one HTML page."""

import re
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.errors import UserError, partial_result
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.interrupts import message, restated
from probe.locks import exclusive
from probe.model.model import Model
from probe.reporting.document import INTERRUPTED, NOT_RUN, Report, Section
from probe.reporting.html import Assets, write_html
from probe.reporting.recipes import Recipe, read_recipe
from probe.reporting.stored import DAMAGED, read_report, store_report
from probe.runs import provenance
from probe.runs.engine import Engine
from probe.runs.execute import prepare, result_key, run_or_load
from probe.runs.inputs import Inputs
from probe.runs.pool import EngineError, Pool
from probe.runs.progress import Display, shown_progress
from probe.runs.store import RunDirectory

PAGE = "report.html"
DRAWINGS = ".drawings"
"""Folder of a run directory with its figures as pages and PDFs show them."""


@dataclass(frozen=True, repr=False)
class ReportResult:
    """What `report` wrote. Analyses go by the name of their folder.

    page: the HTML file. contents: what it shows. reused: results that an earlier run had stored. skipped: analyses
    that cannot work on these images, with the reason. failed: analyses that raised an unexpected error, with that
    error. notes: how the images were preprocessed and sampled, and which files were skipped.
    """

    page: Path
    contents: Report
    results: dict[str, Result] = field(default_factory=dict)
    reused: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        parts = [counted(len(self.results), "result")]
        parts += [
            f"{what}: {', '.join(names)}"
            for what, names in (("skipped", self.skipped), ("failed", self.failed))
            if names
        ]
        return f"ReportResult({str(self.page)!r}, {', '.join(parts)})"

    def write_pdf(self, path: Path | None = None) -> tuple[Path, list[str]]:
        """Write the report as a PDF, by default beside the page; returns its path and warnings.

        Raises UserError if typst cannot set it, OSError if the file cannot be written.
        """
        from probe.reporting.pdf import write_pdf  # typst is not always needed

        path = path or self.page.with_suffix(".pdf")
        return path, write_pdf(path, self.contents, drawings=self.page.parent / DRAWINGS)


def report(  # parameters: all that a run is made of, and what computes it
    model: Model,
    images: Images,
    recipe: str | Path | Recipe = "quick",
    *,
    out: str | Path = "runs",
    seed: int = 0,
    compare_to: Sequence[Model] = (),
    progress: bool | Display | None = None,
    workers: int | Engine | None = None,
    assets: Assets = "inline",
) -> ReportResult:
    """Run every analysis of `recipe` and write one self-contained HTML page into a new directory in `out`.

    recipe: the name of a recipe, the path of a TOML file, or a Recipe. compare_to: further models, for analyses that
    compare models. progress: whether to show progress (None: only in a notebook), or an object that receives it.
    workers: the number of processes that compute the parts of the analyses, with one thread each, or a probe.Engine.
    assets: "folder" writes images, style sheet and script to a folder next to the page.

    The same call continues an interrupted run and reuses finished results; `probe.open_run(result.page)` opens the
    results later. An analysis that cannot work on these images is skipped, and the page gives the reason
    (`Recipe.strict`: its UserError is raised); the others run even if one fails.
    Raises UserError for an invalid recipe, OSError if `out` cannot be written.
    """
    plan = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    inputs = Inputs(model, prepare(model, images), seed, tuple(compare_to))
    planned = plan_run(plan, inputs, Path(out))
    with Engine.of(workers).open(cuda=model.device.type == "cuda") as pool:
        return write_report(planned, progress=progress, pool=pool, assets=assets)


@dataclass(frozen=True)
class PlannedRun:
    """A recipe on a model and images: analyses and the keys of their results by folder, and the run directory."""

    recipe: Recipe
    inputs: Inputs
    path: Path
    analyses: dict[str, Analysis]
    keys: dict[str, str]


def plan_run(recipe: Recipe, inputs: Inputs, out: Path) -> PlannedRun:
    """The run directory in `out`, and what it will hold."""
    names = _folders(recipe.analyses)
    keys = [result_key(analysis, inputs) for analysis in recipe.analyses]
    path = _directory(out, recipe, inputs, provenance.digest([recipe.title, names, keys]))
    analyses = dict(zip(names, recipe.analyses, strict=True))
    return PlannedRun(recipe, inputs, path, analyses, dict(zip(names, keys, strict=True)))


def write_report(
    planned: PlannedRun,
    *,
    progress: bool | Display | None = None,
    pool: Pool | None = None,
    seconds: Mapping[str, float] | None = None,
    assets: Assets = "inline",
) -> ReportResult:
    """Run what is planned, or load what is stored, and write the page.

    seconds: of results that workers have just computed and stored, by folder. assets: as for `write_html`.
    """
    with exclusive(planned.path):
        return _report(planned, progress=progress, pool=pool, seconds=seconds or {}, assets=assets)


def _report(
    planned: PlannedRun,
    *,
    progress: bool | Display | None,
    pool: Pool | None,
    seconds: Mapping[str, float],
    assets: Assets,
) -> ReportResult:
    """Run the analyses and write the page, also where a signal stops them."""
    plan, analyses, inputs = planned.recipe, planned.analyses, planned.inputs
    directory = RunDirectory(planned.path)
    facts = _facts(plan, inputs)
    facts["workers"] = pool.size if pool else None
    sections: list[Section] = []
    contents = Report(
        title=plan.title,
        model=_model_facts(inputs.model),
        data=_image_facts(inputs.images),
        sections=sections,
        provenance=facts,
        headlines=_headlines(analyses),
    )
    outcome = ReportResult(directory.path / PAGE, contents, notes=inputs.images.notes)
    with shown_progress(progress) as display:
        show = display.section if display else lambda _: None
        try:
            for number, (name, analysis) in enumerate(analyses.items(), start=1):
                show(f"{name} ({number} of {len(analyses)})" if len(analyses) > 1 else name)
                compute = partial(
                    run_or_load, analysis, inputs, directory, folder=name, display=display, pool=pool
                )
                section = _run(analysis, name, compute, outcome, strict=plan.strict)
                if name in seconds and section.reused:
                    section = replace(section, reused=False, seconds=seconds[name])
                    outcome.reused.remove(name)
                sections.append(section)
                if section.result is not None:
                    facts["seconds"][name] = None if section.seconds is None else round(section.seconds, 3)
        except KeyboardInterrupt as stop:
            unfinished = partial_result(stop)
            if not outcome.results and unfinished is None:
                raise restated(stop, message(stop)) from None
            show("writing the page of the finished analyses")
            rest = list(analyses.items())[len(sections) :]
            sections += _missing(dict(rest))
            if unfinished is not None:
                name, analysis = rest[0]
                sections[-len(rest)] = Section(**_section(name, analysis), result=unfinished, partial=True)
            facts["stopped"] = _now()
            _write(directory, contents, assets)
            raise restated(
                stop,
                f"stopped after {len(outcome.results)} of {len(analyses)} analyses, shown in {outcome.page}"
                f"{f', with the partial result of {rest[0][0]}' if unfinished is not None else ''}: "
                "the same command continues from there",
            ) from None
        show("writing the page")
        facts["finished"] = _now()
        _write(directory, contents, assets)
    return outcome


def _run(
    analysis: Analysis,
    name: str,
    compute: Callable[[], tuple[Result, bool]],
    outcome: ReportResult,
    *,
    strict: bool,
) -> Section:
    """The section of one analysis with its result or the reason why it has none, which `outcome` receives too."""
    facts = _section(name, analysis)
    started = time.perf_counter()
    try:
        result, reused = compute()
    except UserError as error:
        if strict or isinstance(error, EngineError):
            raise
        outcome.skipped[name] = str(error)
        return Section(**facts, error=f"Skipped: {error}.")
    except OSError:
        raise
    except Exception as error:
        path = outcome.page.with_name(f"{name}.error.txt")
        path.write_text(traceback.format_exc(), encoding="utf-8")
        line = str(error).splitlines()[0] if str(error) else ""
        outcome.failed[name] = f"{type(error).__name__}: {line}"
        return Section(**facts, error=f"This analysis failed: {outcome.failed[name]}")
    outcome.results[name] = result
    if reused:
        outcome.reused.append(name)
    return Section(
        **facts, result=result, reused=reused, seconds=None if reused else time.perf_counter() - started
    )


def _missing(analyses: dict[str, Analysis]) -> list[Section]:
    """The sections of a report that was stopped in the first of `analyses`, before the others."""
    reasons = [INTERRUPTED, *[NOT_RUN] * (len(analyses) - 1)]
    return [
        Section(**_section(name, analysis), error=reason)
        for (name, analysis), reason in zip(analyses.items(), reasons, strict=True)
    ]


def _write(directory: RunDirectory, contents: Report, assets: Assets) -> None:
    """Write run.json, report.json and the page."""
    directory.record(contents.provenance)
    store_report(directory, contents)
    write_html(directory.path / PAGE, contents, assets=assets, drawings=directory.path / DRAWINGS)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def render_stored(run: Path, *, assets: Assets = "inline") -> ReportResult:
    """Write the page of the run directory `run` again, without computing; figures that it holds are not drawn again.

    assets: as for `write_html`. Results that are missing or damaged are in `failed`.

    Raises UserError if `run` is no run directory of this version, OSError if the page cannot be written.
    """
    contents = read_report(run)
    results = {section.anchor: section.result for section in contents.sections if section.result}
    write_html(run / PAGE, contents, assets=assets, drawings=run / DRAWINGS)
    damaged = {section.anchor: DAMAGED for section in contents.sections if section.error == DAMAGED}
    return ReportResult(run / PAGE, contents, results, reused=list(results), failed=damaged)


def _headlines(analyses: dict[str, Analysis]) -> list[tuple[str, str]]:
    """The numbers at the top of a report of several analyses, as pairs of a folder and a key."""
    if len(analyses) == 1:
        return []
    return [(name, key) for name, analysis in analyses.items() for key in analysis.headlines]


def _folders(analyses: Sequence[Analysis]) -> list[str]:
    """The folder of each analysis: its name, numbered from its second occurrence on."""
    counts: dict[str, int] = {}
    names = []
    for analysis in analyses:
        counts[analysis.name] = counts.get(analysis.name, 0) + 1
        names.append(
            analysis.name if counts[analysis.name] == 1 else f"{analysis.name}-{counts[analysis.name]}"
        )
    return names


def _directory(out: Path, plan: Recipe, inputs: Inputs, identity: str) -> Path:
    kind = plan.analyses[0].name if len(plan.analyses) == 1 else "report"
    words = [kind, inputs.model.name, inputs.images.name]
    slug = "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")[-40:] for word in words)
    return out / f"{slug}-{identity[:8]}"


def _section(name: str, analysis: Analysis) -> dict[str, Any]:
    return {
        "anchor": name,
        "title": analysis.title,
        "source": analysis.source,
        "question": analysis.question(),
        "parameters": analysis.model_dump(mode="json"),
        "failures": analysis.failures,
    }


def _facts(plan: Recipe, inputs: Inputs) -> dict[str, Any]:
    """The contents of run.json when the run starts."""
    model, images = inputs.model, inputs.images
    return {
        "command": provenance.command_line(),
        "started": _now(),
        "recipe": plan.title,
        "analyses": [{"name": a.name, **a.model_dump(mode="json")} for a in plan.analyses],
        "seed": inputs.seed,
        "model": {"name": model.name, "digest": model.digest},
        "compare_to": [{"name": other.name, "digest": other.digest} for other in inputs.compare_to],
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


def _model_facts(model: Model) -> dict[str, Any]:
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


def _image_facts(images: Images) -> dict[str, Any]:
    if not len(images):
        return {"images": "none: these analyses examine only the network"}
    annotations = {"labels": images.labels, "masks": images.raw_masks, "boxes": images.raw_boxes}
    known = [name for name, annotation in annotations.items() if annotation is not None]
    facts: dict[str, Any] = {
        "name": images.name,
        "images": len(images),
        "size": list(images.shape),
        "annotations": ", ".join(known) or "none",
    }
    if images.labels is not None and images.classes:
        counts = images.labels.bincount(minlength=len(images.classes)).tolist()
        present = [count for count in counts if count]
        each = f"{min(present)}" if min(present) == max(present) else f"{min(present)} to {max(present)}"
        facts["classes"] = f"{len(present)} of {len(counts)}, {each} image{'' if each == '1' else 's'} each"
    return facts | {"notes": list(images.notes)}
