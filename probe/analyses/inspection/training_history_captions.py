"""Captions and warnings of `training-history`."""

from collections.abc import Sequence
from dataclasses import dataclass

from probe.exhibits.wording import counted, listed, sentences


@dataclass(frozen=True, kw_only=True)
class StepsFindings:
    """How many steps each model takes to the target accuracy; None where it is never reached.

    empty_cells: whether some accuracy of the table is never reached. schedules: learning-rate schedules that are not
    constant.
    """

    names: Sequence[str]
    steps: Sequence[int | None]
    target_accuracy: float
    empty_cells: bool = False
    schedules: Sequence[str] = ()

    @property
    def by_steps(self) -> list[tuple[int, str]]:
        """(steps, name) of the models that reach the target accuracy, fewest steps first."""
        pairs = zip(self.names, self.steps, strict=True)
        return sorted((steps, name) for name, steps in pairs if steps is not None)

    @property
    def ratio(self) -> float | None:
        """Steps of the slowest model over those of the fastest; None unless two reach the target at different steps."""
        reached = self.by_steps
        return reached[-1][0] / reached[0][0] if len(reached) > 1 and reached[-1][0] > reached[0][0] else None


def steps_caption(f: StepsFindings) -> str:
    return sentences(
        steps_to_target(f),
        "Accuracy is measured after each epoch.",
        f.empty_cells and "An empty cell means that the accuracy is never reached.",
        bool(f.schedules)
        and len(f.names) > 1
        and f"The learning rate decays ({', '.join(f.schedules)}), which makes accuracy rise late: a constant learning rate would "
        "compare the networks more fairly.",
    )


def steps_to_target(f: StepsFindings) -> str:
    """Which model reaches the target accuracy first, and by how much.

    >>> steps_to_target(StepsFindings(names=["a", "b"], steps=[400, 100], target_accuracy=0.6))
    'b reaches a test accuracy of 60.00% after 100 steps, a after 400 steps, 4.0 times as many.'
    >>> steps_to_target(StepsFindings(names=["a", "b"], steps=[100, None], target_accuracy=0.6))
    'a reaches a test accuracy of 60.00% after 100 steps. b never reaches it.'
    """
    reached = f.by_steps
    never = [name for name, steps in zip(f.names, f.steps, strict=True) if steps is None]
    if not reached:
        return f"No model reaches a test accuracy of {f.target_accuracy:.2%}."
    fewest, (most, slowest) = reached[0][0], reached[-1]
    tied = [name for steps, name in reached if steps == fewest]
    verb = "reaches" if len(tied) == 1 else "reach"
    result = (
        f"{listed(tied)} {verb} a test accuracy of {f.target_accuracy:.2%} after {counted(fewest, 'step')}"
    )
    if f.ratio is not None:
        result += f", {slowest} after {counted(most, 'step')}, {f.ratio:.1f} times as many"
    return sentences(
        f"{result}.", bool(never) and f"{listed(never)} never {'reaches' if len(never) == 1 else 'reach'} it."
    )


def errors_caption(accuracies: Sequence[tuple[str, float]]) -> str:
    """accuracies: (name, final test accuracy) of each model."""
    finals = listed([f"{accuracy:.2%} ({name})" for name, accuracy in accuracies])
    return (
        f"The final test accuracy is {finals}. The curves are measured after each epoch, the final accuracy on the finished "
        "network in float32 where its card has it: they may differ by a few images."
    )


@dataclass(frozen=True, kw_only=True)
class LossFindings:
    """The model with the lowest training loss at the end. every: how many steps a point is the mean of."""

    name: str
    loss: float
    models: int
    every: int


def loss_caption(f: LossFindings) -> str:
    which = "the lowest" if f.models > 1 else "a"
    return sentences(
        f"{f.name} ends with {which} training loss of {f.loss:.4f}, the mean over its last epoch.",
        f.every > 1 and f"Each point is the mean over up to {f.every} steps.",
    )


@dataclass(frozen=True, kw_only=True)
class SummaryFindings:
    """The model with the highest final test accuracy. models: how many have a history."""

    name: str
    accuracy: float
    steps: int
    models: int


def summary_caption(f: SummaryFindings | None) -> str:
    """f: None where no model has a history."""
    if f is None:
        return "No model has a history of its training."
    which = "the highest" if f.models > 1 else "a"
    return sentences(
        f"{f.name} has {which} test accuracy of {f.accuracy:.2%} after {counted(f.steps, 'step')}.",
        "Both accuracies are those of the finished network where its card has them; else the training accuracy is the "
        "mean over the last epoch. The gap is training minus test accuracy.",
    )


@dataclass(frozen=True, kw_only=True)
class ComparabilityFindings:
    """missing: models without a history file. same_images: whether all were trained on the same. batch_sizes: all."""

    missing: Sequence[str]
    same_images: bool
    batch_sizes: Sequence[int]


def comparability_warnings(f: ComparabilityFindings, file: str) -> list[str]:
    """file: name of the history file."""
    warnings = [f"{name} has no {file}: its training history is unknown." for name in f.missing]
    if not f.same_images:
        warnings.append("The models were trained on different images: their accuracies cannot be compared.")
    if len(f.batch_sizes) > 1:
        sizes = listed([str(size) for size in f.batch_sizes])
        warnings.append(
            f"The models were trained with batch sizes of {sizes}: a step is not the same amount of work for all."
        )
    return warnings
