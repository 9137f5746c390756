"""How did the training of the network go, compared with that of other networks?"""

from collections.abc import Sequence

from pydantic import Field

from probe.analyses.analysis import Analysis
from probe.analyses.inspection import training_history_exhibits as show
from probe.analyses.inspection.training_history_captions import (
    ComparabilityFindings,
    StepsFindings,
    comparability_warnings,
)
from probe.analyses.inspection.training_history_exhibits import TrainedModel
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.exhibits.wording import snake_case
from probe.model.model import Model
from probe.params import Fraction
from probe.training.history import FILE, History, read_history

_ROUND_ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 0.995)


def steps_to_accuracy(history: History, accuracy: float) -> int | None:
    """Steps after which the test accuracy is first at least `accuracy`; None where it never is."""
    return next((epoch.steps for epoch in history.epochs if epoch.test_accuracy >= accuracy), None)


def common_accuracy(histories: Sequence[History]) -> float:
    """The highest test accuracy that all of them reach at some epoch."""
    return min(max(epoch.test_accuracy for epoch in history.epochs) for history in histories)


def informative_accuracies(histories: Sequence[History]) -> list[float]:
    """Round accuracies that some training reaches, and that not all exceed after their first epoch."""
    first = min(history.epochs[0].test_accuracy for history in histories)
    best = max(epoch.test_accuracy for history in histories for epoch in history.epochs)
    return [accuracy for accuracy in _ROUND_ACCURACIES if first < accuracy <= best]


class TrainingHistory(Analysis):
    """How did the training of the network go, compared with that of other networks?"""

    name = "training-history"
    title = "Training histories"
    takes_compare_to = True
    source = "LeCun et al. 1998; Ioffe & Szegedy 2015, arXiv 1502.03167; He et al. 2016, arXiv 1512.03385"
    headlines = ("test_accuracy_*",)
    needs_images = 0
    uses_predictions = False

    target_accuracy: Fraction = Field(
        0,
        ge=0,
        le=1,
        description="test accuracy up to which training steps are counted (0: the highest accuracy that all models reach)",
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        models = (model, *job.compare_to)
        trained = [
            TrainedModel(m, read_history(m.folder)) for m in models if m.folder and (m.folder / FILE).exists()
        ]
        missing = [m for m in models if not m.folder or not (m.folder / FILE).exists()]
        warnings = comparability_warnings(_comparability(trained, missing), FILE)
        if not trained:
            return Result(exhibits=[show.summary_table(trained, missing)], warnings=warnings)
        histories = [entry.history for entry in trained]
        target = self.target_accuracy or common_accuracy(histories)
        accuracies = {*informative_accuracies(histories), target}
        steps = [{a: steps_to_accuracy(history, a) for a in accuracies} for history in histories]
        findings = show.steps_findings(trained, steps, target)
        exhibits: list[Exhibit] = [
            show.error_chart(trained),
            show.steps_table(steps, findings),
            show.loss_chart(trained),
            show.summary_table(trained, missing),
        ]
        return Result(exhibits=exhibits, numbers=_numbers(trained, findings), warnings=warnings)


def _numbers(trained: Sequence[TrainedModel], findings: StepsFindings) -> dict[str, Number]:
    numbers = {
        f"test_accuracy_{snake_case(entry.name)}": Number(
            value=entry.final_accuracy, label=f"final test accuracy of {entry.name}", format="{:.2%}"
        )
        for entry in trained
    }
    for name, steps in zip(findings.names, findings.steps, strict=True):
        if steps is not None:
            label = f"steps of {name} to a test accuracy of {findings.target_accuracy:.2%}"
            numbers[f"steps_to_target_{snake_case(name)}"] = Number(
                value=steps, label=label, format="{:,.0f}"
            )
    return numbers


def _comparability(trained: Sequence[TrainedModel], missing: Sequence[Model]) -> ComparabilityFindings:
    cards = [entry.model.card.training for entry in trained]
    return ComparabilityFindings(
        missing=[model.name for model in missing],
        same_images=len({card.get("data_sha256") for card in cards}) <= 1,
        batch_sizes=sorted({card.get("config", {}).get("batch_size") for card in cards} - {None}),
    )
