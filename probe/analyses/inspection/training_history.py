"""How did the training of one network go beside that of others?"""

from collections.abc import Sequence

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection.training_history_exhibits import Trained, errors, figures, losses, steps
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.model.model import Model
from probe.params import Fraction
from probe.training.history import FILE, History, read_history

_MARKS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)


def reached(history: History, accuracy: float) -> int | None:
    """Steps after which the test accuracy was first at least `accuracy`; None where it never was."""
    return next((epoch.steps for epoch in history.epochs if epoch.test_accuracy >= accuracy), None)


def common_level(histories: Sequence[History]) -> float:
    """The highest test accuracy that all of them reached at some epoch."""
    return min(max(epoch.test_accuracy for epoch in history.epochs) for history in histories)


def telling(histories: Sequence[History]) -> list[float]:
    """Round accuracies that some training reached, and that not all had after their first epoch."""
    first = min(history.epochs[0].test_accuracy for history in histories)
    best = max(epoch.test_accuracy for history in histories for epoch in history.epochs)
    return [mark for mark in _MARKS if first < mark <= best]


class Training(Analysis):
    """How did the training of this network go, beside that of others?"""

    name = "training"
    title = "Training histories"
    source = "LeCun et al. 1998; Ioffe & Szegedy 2015, arXiv 1502.03167; He et al. 2016, arXiv 1512.03385"
    needs_images = 0

    level: Fraction = Field(
        0,
        ge=0,
        le=1,
        description="test accuracy whose steps are counted (0: the highest that all models reached)",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        trained: list[Trained] = []
        unknown: list[Model] = []
        for one in (model, *job.compare_to):
            if one.folder is not None and (one.folder / FILE).exists():
                trained.append(Trained(one, read_history(one.folder)))
            else:
                unknown.append(one)
        warnings = [
            f"{one.name} has no {FILE}, so nothing is known of the course of its training." for one in unknown
        ]
        if not trained:
            return Result(exhibits=[figures(trained, unknown)], warnings=warnings)
        histories = [one.history for one in trained]
        level = self.level or common_level(histories)
        levels = {*telling(histories), level}
        counted = [{accuracy: reached(history, accuracy) for accuracy in levels} for history in histories]
        numbers = {
            f"final test accuracy of {one.name}": Number(value=one.final, format="{:.2%}") for one in trained
        }
        for one, counts in zip(trained, counted, strict=True):
            if (taken := counts[level]) is not None:
                numbers[f"steps of {one.name} to {level:.2%}"] = Number(value=taken, format="{:,.0f}")
        exhibits: list[Exhibit] = [
            errors(trained),
            steps(trained, counted, level),
            losses(trained),
            figures(trained, unknown),
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=[*warnings, *_unlike(trained)])


def _unlike(trained: Sequence[Trained]) -> list[str]:
    """In what the trainings differ that makes their figures no comparison of the networks."""
    cards = [one.model.card.training for one in trained]
    found = []
    if len({card.get("data_sha256") for card in cards}) > 1:
        found.append("The models were trained on different images: their accuracies do not compare.")
    if len(batches := {card.get("recipe", {}).get("batch") for card in cards} - {None}) > 1:
        sizes = " and ".join(map(str, sorted(batches)))
        found.append(f"The models were trained with batches of {sizes}: a step is not the same work for all.")
    return found
