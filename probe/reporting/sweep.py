"""Run a recipe on many models, and write a page that sets them side by side, with links to the report of each."""

import glob
import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.result import Number, Result
from probe.exhibits.storage import slug
from probe.exhibits.wording import counted
from probe.interrupts import restated
from probe.locks import exclusive
from probe.methods.inspection.predictions import predict_images
from probe.model.cards import FILE
from probe.model.loading import load, pretrained
from probe.model.model import Model
from probe.regular_files import user_path
from probe.reporting.document import Report, Section, headline_numbers
from probe.reporting.html import write_html
from probe.reporting.recipes import Recipe, read_recipe
from probe.reporting.report import PAGE, PlannedRun, ReportResult, plan_run, write_report
from probe.reporting.sweep_exhibits import SweptModel, sweep_result
from probe.runs import provenance
from probe.runs.engine import Engine
from probe.runs.execute import prepare
from probe.runs.inputs import Inputs
from probe.runs.messages import Complete, Failed, Part, Task, Whole
from probe.runs.pool import EngineError, Pool, State, require_importable
from probe.runs.progress import Display, shown_progress
from probe.runs.store import RunDirectory

MOST_COMPARED = 2000
"""Images whose predictions are compared between models."""

_CHECKPOINTS = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True, repr=False)
class SweepResult:
    """What `sweep` wrote. page: the HTML file. reports: of each model, by its name. result: the comparison."""

    page: Path
    result: Result
    reports: dict[str, ReportResult] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"SweepResult({str(self.page)!r}, {counted(len(self.reports), 'model')})"


def sweep(  # parameters: all that a run is made of, for many models, and what computes it
    models: Sequence[str | Path],
    images: Images,
    recipe: str | Path | Recipe = "quick",
    *,
    over: str = "",
    out: str | Path = "runs",
    seed: int = 0,
    device: str = "auto",
    trust_code: bool = False,
    progress: bool | Display | None = None,
    workers: "int | Engine | None" = None,
) -> SweepResult:
    """Run every analysis of `recipe` on every model, and write a page that compares the models side by side.

    models: names, folders, checkpoints, or patterns of these (`expand_models`), in the order in which they are compared.
    over: a field of their cards, such as training.config.lr, by which they are ordered instead; for epochs of one training,
    the epoch by default. The other parameters are those of `report`. The same call continues an interrupted sweep.
    Raises UserError for models that cannot be loaded, and for a field that a card does not have.
    """
    specs = expand_models(models)
    plan = recipe if isinstance(recipe, Recipe) else read_recipe(recipe)
    plan = Recipe(plan.title, plan.analyses)  # an analysis that one model refuses is skipped there
    identity = provenance.digest([specs, plan.title, [a.model_dump(mode="json") for a in plan.analyses]])
    folder = Path(out) / f"sweep-{slug(specs[0])[-40:]}-{slug(images.name)[-40:]}-{identity[:8]}"
    engine = Engine.of(workers)
    swept: list[SweptModel] = []
    reports: dict[str, ReportResult] = {}
    with exclusive(folder), shown_progress(progress) as display:
        prepared = _Prepared(specs, images, plan, folder, seed, device, trust_code, over)
        cuda = prepared.run(0).inputs.model.device.type == "cuda"
        with engine.open(cuda=cuda) as pool:
            try:
                for run, seconds in _computed(prepared, pool, display):
                    if display:
                        display.section(f"{run.inputs.model.name} ({len(swept) + 1} of {len(specs)})")
                    outcome = write_report(run, progress=display or False, pool=pool, seconds=seconds)
                    name = run.inputs.model.name
                    reports[name if name not in reports else f"{name} ({len(reports) + 1})"] = outcome
                    swept.append(_summary(run, outcome, over))
                    if display:
                        display.section("sweep")
            except KeyboardInterrupt as stop:
                raise restated(
                    stop,
                    f"stopped after {len(swept)} of {counted(len(specs), 'model')}, in {folder}: the same command "
                    "continues from there",
                ) from None
        result = sweep_result(swept)
        page = _write_page(folder, plan, images, swept, reports, result)
    return SweepResult(page, result, reports)


def expand_models(given: Sequence[str | Path]) -> list[str]:
    """The models that names, folders, checkpoints and patterns with * stand for, patterns in the order of their names.

    A folder without a card stands for the models or checkpoints in it; `epochs/` of a training for its epochs.
    Raises UserError for what no model has.
    """
    specs: list[str] = []
    for text in map(str, given):
        if text in pretrained() or text.startswith("torchvision:"):
            specs.append(text)
            continue
        path = user_path(text)
        matches = sorted(glob.glob(str(path)), key=_natural) if glob.has_magic(text) else [str(path)]
        usable = [spec for match in matches for spec in _models_in(Path(match))]
        if not usable:
            kinds = "a folder with a card.toml or a checkpoint of one"
            raise UserError(f"{text} names no model: a model is {kinds}, or a name of `probe list models`")
        specs += usable
    if not specs:
        raise UserError("a sweep needs models: names, folders, or a pattern such as 'runs/*'")
    return specs


def _models_in(path: Path) -> list[str]:
    if (path / FILE).is_file():
        return [str(path)]
    if path.is_file():
        return [str(path)] if path.suffix in _CHECKPOINTS and path.name != "weights.safetensors" else []
    if not path.is_dir():
        return []
    entries = sorted(path.iterdir(), key=lambda entry: _natural(entry.name))
    return [str(e) for e in entries if (e / FILE).is_file() or (e.is_file() and e.suffix in _CHECKPOINTS)]


def _natural(name: str) -> list[Any]:
    """Numbers in names by their size: epoch 9 before epoch 10."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name)]


@dataclass
class _Prepared:
    """The runs of a sweep, each with its model loaded when it is asked for; the latest is held."""

    specs: list[str]
    images: Images
    plan: Recipe
    folder: Path
    seed: int
    device: str
    trust_code: bool
    over: str
    _latest: tuple[int, PlannedRun] | None = None

    def run(self, number: int) -> PlannedRun:
        """The run of the model `number`."""
        if self._latest is None or self._latest[0] != number:
            model = load(self.specs[number], device=self.device, trust_code=self.trust_code)
            _position(model, self.over)  # a field that is missing is an error before anything is computed
            inputs = Inputs(model, prepare(model, self.images), self.seed)
            self._latest = number, plan_run(self.plan, inputs, self.folder)
        return self._latest[1]


def _computed(
    prepared: _Prepared, pool: Pool | None, display: Display | None
) -> Iterator[tuple[PlannedRun, dict[str, float]]]:
    """Each run, in order, with the seconds of its results that workers have computed and stored before.

    Whole analyses are handed out where there are as many as workers; else the chunks of one after the other.
    """
    cells = len(prepared.specs) * len(prepared.plan.analyses)
    if pool is None or cells < pool.size or pool.size == 1:
        for number in range(len(prepared.specs)):
            yield prepared.run(number), {}
        return
    yield from _Cells(prepared, pool, display).finished()


class _Cells:
    """The analyses of all models as one pool of tasks. A task is an analysis of a model, from its start to its end."""

    def __init__(self, prepared: _Prepared, pool: Pool, display: Display | None) -> None:
        self._prepared, self._pool, self._display = prepared, pool, display
        self._runs: dict[int, PlannedRun] = {}
        self._open: dict[int, set[str]] = {}
        self._seconds: dict[int, dict[str, float]] = {}
        for analysis in prepared.plan.analyses:
            require_importable(analysis)

    def finished(self) -> Iterator[tuple[PlannedRun, dict[str, float]]]:
        total, following = len(self._prepared.specs), 0
        loop = (
            self._display.start("analyses", total * len(self._prepared.plan.analyses))
            if self._display
            else None
        )
        with closing(self._pool.compute(self._tasks(), self._messages)) as outcomes:
            for outcome in outcomes:
                self._store(outcome)
                if self._display and loop is not None and not isinstance(outcome, Part):
                    self._display.advance(loop)
                while following in self._runs and not self._open[following]:
                    yield self._runs.pop(following), self._seconds.pop(following, {})
                    following += 1
        while following < total:  # models whose results were stored before
            yield self._runs.pop(following, None) or self._prepared.run(following), {}
            following += 1
        if self._display and loop is not None:
            self._display.finish(loop)

    def _tasks(self) -> Iterator[Task]:
        for number in range(len(self._prepared.specs)):
            run = self._prepared.run(number)
            directory = RunDirectory(run.path)
            missing = [name for name, key in run.keys.items() if directory.read(name, key) is None]
            self._runs[number], self._open[number] = run, set(missing)
            for name in missing:
                yield Task(number, 0, name, len(self._prepared.specs), number)

    def _messages(self, task: Task, state: State) -> Iterator[Any]:
        run = self._runs[task.run]
        number, load_message = self._pool.load(run.inputs)
        if state.load != number:
            state.load, state.run = number, 0
            yield load_message
        chunks = RunDirectory(run.path).chunks(task.name, run.keys[task.name]).all()
        yield self._pool.share(Whole(task, run.analyses[task.name], run.inputs.seed, chunks))

    def _store(self, outcome: Any) -> None:
        task = outcome.task
        run = self._runs[task.run]
        directory = RunDirectory(run.path)
        if isinstance(outcome, Part):
            directory.chunks(task.name, run.keys[task.name]).save(outcome.label, outcome.arrays)
            return
        if isinstance(outcome, Failed) and isinstance(outcome.error, EngineError):
            raise outcome.error
        self._open[task.run].discard(task.name)
        if isinstance(outcome, Complete):
            directory.write(task.name, run.keys[task.name], outcome.result)
            self._seconds.setdefault(task.run, {})[task.name] = outcome.seconds


def _summary(run: PlannedRun, outcome: ReportResult, over: str) -> SweptModel:
    """What the page of the sweep says of one model."""
    model, images = run.inputs.model, run.inputs.images
    numbers: dict[str, Number] = {}
    for section, key, number in headline_numbers(outcome.contents):
        label = number.label or key
        numbers[label if label not in numbers else f"{label} ({section.anchor})"] = number
    few = images.take(MOST_COMPARED) if len(images) else images
    predictions = predict_images(model, few) if len(few) else None
    return SweptModel(
        name=model.name,
        page=f"{outcome.page.parent.name}/{PAGE}",
        position=_position(model, over),
        numbers=numbers,
        classes=None if predictions is None else predictions.classes,
        over=over or ("epoch" if _epoch(model) is not None else ""),
    )


def _position(model: Model, over: str) -> float | None:
    """Where a model lies on the axis of the curves: a field of its card, or its epoch."""
    if not over:
        return _epoch(model)
    value: Any = model.card.model_dump()
    for part in over.split("."):
        if not isinstance(value, dict) or part not in value:
            known = ", ".join(sorted(value)) if isinstance(value, dict) else "none"
            raise UserError(f"the card of {model.name} has no field {over} (at {part!r}: there are {known})")
        value = value[part]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"the field {over} of {model.name} is not a number, got {value!r}")
    return float(value)


def _epoch(model: Model) -> float | None:
    stem = Path(model.spec or "").stem
    return float(stem) if stem.isdecimal() and model.folder is None else None


def _write_page(
    folder: Path,
    plan: Recipe,
    images: Images,
    swept: Sequence[SweptModel],
    reports: dict[str, ReportResult],
    result: Result,
) -> Path:
    section = Section(
        anchor="sweep",
        title="Models side by side",
        source="",
        question="How do the models differ, and which of them stand out?",
        parameters={
            "over": swept[0].over or "order of the models",
            "analyses": [a.name for a in plan.analyses],
        },
        result=result,
    )
    first = next(iter(reports.values())).contents.provenance
    facts = {
        name: first.get(name)
        for name in ("command", "started", "recipe", "analyses", "seed", "data", "machine")
    }
    facts |= {name: first.get(name) for name in ("versions", "commit", "code", "workers")}
    contents = Report(
        title=f"Sweep: {plan.title}",
        model={},
        data={"name": images.name, "images": len(images)},
        sections=[section],
        provenance=facts,
        headlines=[("sweep", key) for key in result.numbers],
        links=[(model.name, model.page) for model in swept],
    )
    write_html(folder / PAGE, contents)
    return folder / PAGE
