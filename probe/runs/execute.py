"""Execute an analysis: preprocess the images, check what the analysis needs, run it or load its stored result."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from probe.analyses import find
from probe.analyses.analysis import Analysis
from probe.data.images import Images, no_images
from probe.data.pictures import picture_digest
from probe.device import deterministic_float32
from probe.errors import Interrupted, UserError, partial_result, with_partial_result
from probe.exhibits.result import Result
from probe.exhibits.wording import counted
from probe.model.batching import out_of_memory
from probe.model.model import Model
from probe.model.outputs import single_output_warning
from probe.model.state import preserved_state
from probe.params import validate
from probe.runs.engine import Engine
from probe.runs.inputs import Inputs
from probe.runs.job import RunJob, preserve_rng, preserve_settings
from probe.runs.pool import Pool
from probe.runs.progress import Display, open_display
from probe.runs.provenance import code_digest, digest, file_digests, versions
from probe.runs.session import SessionChunks
from probe.runs.store import RunDirectory


def prepare(model: Model, images: Images) -> Images:
    """`images` at the model's size and channels, by the rule on its card, with labels in terms of its classes.

    Raises UserError if the rule does not lead to the model's input shape.
    """
    return images.preprocessed(model.shape, model.card.input.preprocess).matched(model.classes)


def make_analysis(analysis: "str | Analysis", **parameters: Any) -> Analysis:
    """The analysis called `analysis` with `parameters`; UserError for an unknown name or parameter, or a bad value."""
    if isinstance(analysis, Analysis):
        return analysis
    return validate(find(analysis), parameters)


def run(
    analysis: str | Analysis,
    model: Model,
    images: Images | None = None,
    *,
    seed: int = 0,
    compare_to: Sequence[Model] = (),
    quiet: bool | None = None,
    workers: int | Engine | None = None,
    **parameters: Any,
) -> Result:
    """Run one analysis and return its result, which notebooks display.

        probe.run("fgsm", model, images, eps="8/255")

    analysis: a name, with `parameters`, or an Analysis. images: of any size, preprocessed by the rule on the model's
    card; None for analyses that examine only the network. compare_to: further models. quiet: show no progress (None: only in
    a notebook). workers: how many processes compute its parts, with one thread each, or a probe.Engine. The same call continues where it was interrupted, if the analysis works in parts.
    Raises UserError for invalid parameters and for a model or images that the analysis cannot work on.
    """
    chosen = make_analysis(analysis, **parameters)
    _validate(chosen, model, images, compare_to)
    inputs = Inputs(
        model, prepare(model, no_images(model.shape) if images is None else images), seed, tuple(compare_to)
    )
    chunks = SessionChunks(lambda: result_key(chosen, inputs))
    engine = Engine.of(workers).open(cuda=model.device.type == "cuda")
    try:
        with open_display(quiet=quiet) as display, engine as pool:
            if display:
                display.section(chosen.name)
            job = RunJob(
                seed,
                compare_to=compare_to,
                display=display,
                store=chunks,
                pool=pool.begin(chosen, inputs) if pool else None,
            )
            result = execute(chosen, model, inputs.images, job)
    except KeyboardInterrupt as stop:
        partial = partial_result(stop)
        parts = (
            f": {counted(chunks.count, 'finished part')} kept, the same call continues from there"
            if chunks.count
            else ": the partial result is the attribute `result` of this exception"
            if partial is not None
            else ""
        )
        interrupted = Interrupted(f"{chosen.name} was interrupted{parts}")
        raise with_partial_result(interrupted, partial) from None
    chunks.clear()
    return result


def _validate(analysis: Analysis, model: Model, images: Images | None, compare_to: Sequence[Model]) -> None:
    """Raise UserError for arguments of another kind."""
    for given in (model, *compare_to):
        if not isinstance(given, Model):
            raise UserError(
                f"{analysis.name} needs a Model, got {type(given).__name__}: create one with probe.load(name) or probe.wrap(network, ...)"
            )
    if images is not None and not isinstance(images, Images):
        raise UserError(
            f"{analysis.name} needs Images, got {type(images).__name__}: create them with probe.images(...)"
        )


def execute(analysis: Analysis, model: Model, images: Images, job: RunJob) -> Result:
    """Run `analysis` on images that are already prepared.

    Afterwards the global random state, the environment, the filters of warnings, and the buffers and modes of the
    networks are as before. Where a signal ends the work, it may carry what there is of the result. Networks whose predictions depend on the batch or on random draws get a warning in the result.
    Raises UserError where a network cannot process its images one by one, and where memory runs out.
    """
    analysis.check(model, images, job.compare_to)
    models = list(dict.fromkeys((model, *job.compare_to)))
    networks = [each.network for each in models]
    with preserve_rng(), preserve_settings(), deterministic_float32(), preserved_state(*networks):
        torch.manual_seed(
            job.rng.initial_seed()
        )  # for networks that draw: the same seed gives the same result
        unreliable = _unreliable(models) if analysis.uses_predictions else []
        of = f" on {counted(len(images))} of {images.name}" if len(images) else ""

        def described(result: Result) -> Result:
            return replace(
                result,
                warnings=[*unreliable, *result.warnings],
                title=analysis.title,
                setting=model.name + of,
                notes=list(images.notes),
            )

        try:
            return described(analysis.run(model, images, job))
        except KeyboardInterrupt as stop:
            if (partial := partial_result(stop)) is not None:
                with_partial_result(stop, described(partial))
            raise
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise UserError(
                f"{analysis.name} ran out of memory ({model.device}): use fewer or smaller images, or lower parameter values; "
                "the same command continues after the last finished part"
            ) from error


def _unreliable(models: Sequence[Model]) -> list[str]:
    """Warnings of the models whose predictions depend on more than the image, or have one class only."""
    warnings = [
        warning
        for model in models
        for warning in (
            model.consistency.warning(model.name),
            single_output_warning(model.name, len(model.classes)),
        )
    ]
    return [warning for warning in warnings if warning]


def result_key(analysis: Analysis, inputs: Inputs) -> str:
    """The hash of everything that determines a result."""
    model, images = inputs.model, inputs.images
    labels = None if images.labels is None else hashlib.sha256(images.labels.numpy().tobytes()).hexdigest()
    return digest(
        {
            "analysis": analysis.name,
            "parameters": analysis.model_dump(mode="json"),
            "pictures": [picture_digest(name) for name in analysis.reads()],
            "model": [model.name, model.digest],
            "compare_to": [[other.name, other.digest] for other in inputs.compare_to],
            "images": [images.name, images.digest, labels, images.notes],
            "seed": inputs.seed,
            "device": model.device.type,
            "files": [file_digests(path) for path in analysis.files()],
            "versions": versions(),
            "code": code_digest(),
        }
    )


def run_or_load(
    analysis: Analysis,
    inputs: Inputs,
    directory: RunDirectory,
    *,
    folder: str,
    display: Display | None = None,
    pool: Pool | None = None,
) -> tuple[Result, bool]:
    """The result of `analysis` and whether it was loaded: from `folder` of `directory`, else run and stored there."""
    key = result_key(analysis, inputs)
    stored = directory.read(folder, key)
    if stored is not None and all(path.exists() for path in analysis.writes()):
        return stored, True
    job = RunJob(
        inputs.seed,
        compare_to=inputs.compare_to,
        display=display,
        store=directory.chunks(folder, key),
        pool=pool.begin(analysis, inputs) if pool else None,
    )
    result = execute(analysis, inputs.model, inputs.images, job)
    directory.write(folder, key, result)
    return result, False
