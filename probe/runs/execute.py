"""Execute an analysis: bring the images to the model, check, run, and leave nothing behind."""

import hashlib
from collections.abc import Sequence
from typing import Any

from probe.analyses import find
from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.device import deterministic_float32
from probe.exhibits.result import Result
from probe.model.model import Model
from probe.params import validate
from probe.runs.job import RunJob, preserve_rng
from probe.runs.provenance import code_digest, digest, versions
from probe.runs.store import RunDirectory


def prepare(model: Model, images: Images) -> Images:
    """`images` at the model's size and channels, by the rule on its card, their labels in its classes."""
    return images.preprocessed(model.shape, model.card.input.preprocess).matched(model.classes)


def make_analysis(analysis: "str | Analysis", **parameters: Any) -> Analysis:
    """The analysis called `analysis` with `parameters`; UserError for a name, parameter or value that is not."""
    if isinstance(analysis, Analysis):
        return analysis
    return validate(find(analysis), parameters)


def run(
    analysis: str | Analysis,
    model: Model,
    images: Images,
    *,
    seed: int = 0,
    compare_to: Sequence[Model] = (),
    **parameters: Any,
) -> Result:
    """Run one analysis and return its result.

    analysis: a name with `parameters`, or an Analysis. images: of any size; they are brought to the model's.
    Raises UserError for what the analysis cannot work on.
    """
    chosen = make_analysis(analysis, **parameters)
    return execute(chosen, model, prepare(model, images), RunJob(seed, compare_to=compare_to))


def execute(analysis: Analysis, model: Model, images: Images, job: RunJob) -> Result:
    """Run `analysis` on images that are already prepared. The global random state is as before."""
    analysis.check(model, images, job.compare_to)
    with preserve_rng(), deterministic_float32():
        return analysis.run(model, images, job)


def result_key(
    analysis: Analysis, model: Model, images: Images, *, seed: int, compare_to: Sequence[Model] = ()
) -> str:
    """The hash of all that determines a result."""
    labels = None if images.labels is None else hashlib.sha256(images.labels.numpy().tobytes()).hexdigest()
    return digest(
        {
            "analysis": analysis.name,
            "parameters": analysis.model_dump(mode="json"),
            "model": [model.name, model.digest],
            "compare_to": [[other.name, other.digest] for other in compare_to],
            "images": [images.name, images.digest, labels, images.notes],
            "seed": seed,
            "device": model.device.type,
            "versions": versions(),
            "code": code_digest(),
        }
    )


def run_or_load(
    analysis: Analysis,
    model: Model,
    images: Images,
    directory: RunDirectory,
    *,
    folder: str,
    seed: int,
    compare_to: Sequence[Model] = (),
    display: Any = None,
) -> tuple[Result, bool]:
    """The result of `analysis`, from `directory` where it is there already (then True), else run and kept there."""
    identity = result_key(analysis, model, images, seed=seed, compare_to=compare_to)
    found = directory.read(folder, identity)
    if found is not None:
        return found, True
    job = RunJob(seed, compare_to=compare_to, display=display, store=(directory, folder, identity))
    result = execute(analysis, model, images, job)
    directory.write(folder, identity, result)
    return result, False
