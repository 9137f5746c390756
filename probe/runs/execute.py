"""Execute an analysis: bring the images to the subject, check, run, and leave nothing behind."""

import hashlib
from collections.abc import Sequence
from typing import Any

from probe.analyses import find
from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.device import exact
from probe.exhibits.result import Result
from probe.model.model import Subject
from probe.params import checked
from probe.runs.job import RunJob, undisturbed
from probe.runs.provenance import code_digest, digest, versions
from probe.runs.store import RunDirectory


def prepared(subject: Subject, images: Images) -> Images:
    """`images` at the subject's size and channels, by the rule on its card, their labels in its classes."""
    return images.fitted(subject.shape, subject.card.input.fit).matched(subject.classes)


def make(analysis: "str | Analysis", **parameters: Any) -> Analysis:
    """The analysis called `analysis` with `parameters`; UserError for a name, parameter or value that is not."""
    if isinstance(analysis, Analysis):
        return analysis
    return checked(find(analysis), parameters)


def run(
    analysis: str | Analysis,
    subject: Subject,
    images: Images,
    *,
    seed: int = 0,
    others: Sequence[Subject] = (),
    **parameters: Any,
) -> Result:
    """Run one analysis and return its result.

    analysis: a name with `parameters`, or an Analysis. images: of any size; they are brought to the subject's.
    Raises UserError for what the analysis cannot work on.
    """
    chosen = make(analysis, **parameters)
    return execute(chosen, subject, prepared(subject, images), RunJob(seed, others=others))


def execute(analysis: Analysis, subject: Subject, images: Images, job: RunJob) -> Result:
    """Run `analysis` on images that are already prepared. The global random state is as before."""
    analysis.check(subject, images, job.others)
    with undisturbed(), exact():
        return analysis.run(subject, images, job)


def key(
    analysis: Analysis, subject: Subject, images: Images, *, seed: int, others: Sequence[Subject] = ()
) -> str:
    """The hash of all that determines a result."""
    labels = None if images.labels is None else hashlib.sha256(images.labels.numpy().tobytes()).hexdigest()
    return digest(
        {
            "analysis": analysis.name,
            "parameters": analysis.model_dump(mode="json"),
            "subject": [subject.name, subject.digest],
            "others": [[other.name, other.digest] for other in others],
            "images": [images.name, images.digest, labels, images.notes],
            "seed": seed,
            "device": subject.device.type,
            "versions": versions(),
            "code": code_digest(),
        }
    )


def kept(
    analysis: Analysis,
    subject: Subject,
    images: Images,
    directory: RunDirectory,
    *,
    folder: str,
    seed: int,
    others: Sequence[Subject] = (),
    display: Any = None,
) -> tuple[Result, bool]:
    """The result of `analysis`, from `directory` where it is there already (then True), else run and kept there."""
    identity = key(analysis, subject, images, seed=seed, others=others)
    found = directory.read(folder, identity)
    if found is not None:
        return found, True
    job = RunJob(seed, others=others, display=display, store=(directory, folder, identity))
    result = execute(analysis, subject, images, job)
    directory.write(folder, identity, result)
    return result, False
