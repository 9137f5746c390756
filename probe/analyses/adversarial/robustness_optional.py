"""The parts of the robustness analysis that a small budget omits, and their second turn with what the others leave."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.robustness_data import (
    FEW,
    LabelledImages,
    Task,
    as_arrays,
    from_chunks,
    run_chunks,
    run_tasks,
)
from probe.analyses.adversarial.robustness_masking import UniversalSuccess, measure_universal
from probe.analyses.adversarial.robustness_plan import ASCENT, MINIMAL, TARGETS, UNIVERSAL, Spending
from probe.analyses.adversarial.robustness_targets import ascend, ascent_count, ascent_grid
from probe.analyses.job import Arrays, Job, joined
from probe.exhibits.exhibits import ImageGrid
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.suite import AttackCurves
from probe.methods.adversarial.suite_searches import (
    MinimalPerturbations,
    TargetedSuccess,
    minimal_perturbations,
    targeted_steps,
    targeted_success,
)
from probe.model.budget import GRADIENT_COST

_FEWEST = 8  # minimal perturbations: fewer have no meaningful median
_TARGETS = 10
_MINIMAL_PASSES = (
    600  # of DeepFool and Carlini-Wagner on an image, measured on networks that were not made robust
)


@dataclass
class OptionalMeasurements:
    """The results of the parts that are measured only if the budget suffices: empty or None until then.

    curves: of the attacks on the images of `data`. per_class: most images of each class to attack towards each other
    class. universal: as measured beside the masking checks. ascent: gradient ascent, one grid at most.
    """

    job: Job
    data: LabelledImages
    curves: AttackCurves
    budget: Budget
    spending: Spending
    per_class: int
    universal: UniversalSuccess
    targeted: list[TargetedSuccess] = field(default_factory=list)
    minimal: MinimalPerturbations | None = None
    ascent: list[ImageGrid] = field(default_factory=list)

    @cached_property
    def targets(self) -> list[int]:
        """The classes that targeted attacks and gradient ascent aim at."""
        return target_classes(self.curves.labels, len(self.data.model.classes))

    def attack_targets(self) -> None:
        """Attack the first correctly classified images of each target class towards the other target classes."""
        attempt = GRADIENT_COST * targeted_steps(self.budget) + 2
        pairs = max(1, len(self.targets) * (len(self.targets) - 1))
        allowed = int(self.spending.allowance(TARGETS) / attempt / pairs)
        if not allowed:
            self.spending.omitted.append(TARGETS)
        rows = target_rows(self.curves, self.targets, min(self.per_class, allowed))
        if not len(rows):
            return

        def compute(target: int) -> Arrays:
            parts = self.data.split(rows)
            return joined([as_arrays(self._targeted(part, target)) for part in parts])

        chunks = run_chunks(self.job, self.data, self.spending, TARGETS, self.targets, compute)
        self.targeted = [from_chunks(TargetedSuccess, [chunk]) for chunk in chunks]

    def _targeted(self, rows: Tensor, target: int) -> TargetedSuccess:
        return targeted_success(self.data.model, *self.data.select(rows), target, self.budget)

    def search(self) -> None:
        """Minimal perturbations, and gradient ascent beside them: workers compute both at the same time."""
        tasks = self._minimal_tasks()
        reserved = self.spending.allowance(MINIMAL) if tasks else 0
        self._run_searches(tasks, ascent_count(self.budget, self.spending, reserved=reserved))

    def second_turn(self) -> None:
        """Measure the parts that did not fit into their share of the budget if they fit into what the others left."""
        again: dict[str, Callable[[], None]] = {
            UNIVERSAL: self._universal,
            TARGETS: self.attack_targets,
            MINIMAL: lambda: self._run_searches(self._minimal_tasks(), 0),
            ASCENT: lambda: self._run_searches([], ascent_count(self.budget, self.spending, reserved=0)),
        }
        for part in self.spending.second_turn():
            again[part]()

    def _universal(self) -> None:
        self.universal = measure_universal(self.job, self.data, self.budget, self.spending)

    def _minimal_tasks(self) -> list[Task]:
        """The minimal perturbations of the first images, `FEW` at most; none where the budget does not allow enough."""
        each = _MINIMAL_PASSES + self.budget.queries
        count = min(FEW, len(self.data), int(self.spending.allowance(MINIMAL) / each))
        if count < min(_FEWEST, len(self.data)):
            self.spending.omitted.append(MINIMAL)
            return []
        chunks = self.data.split(torch.arange(count), passes=each)
        return [Task(MINIMAL, partial(self._minimal, rows)) for rows in chunks]

    def _minimal(self, rows: Tensor) -> Arrays:
        return as_arrays(minimal_perturbations(self.data.model, *self.data.select(rows), self.budget))

    def _run_searches(self, minimal: list[Task], ascents: int) -> None:
        """minimal: chunks of the minimal perturbations. ascents: the number of classes whose score is raised."""
        classes, targets = self.data.model.classes, self.targets[:ascents]
        tasks = list(minimal)
        if ascents:
            start = int(self.curves.correct.argmax())
            tasks.append(Task(ASCENT, lambda: ascend(self.data, start, targets, self.budget)))
        if not tasks:
            return
        chunks = run_tasks(self.job, self.data, self.spending, tasks[0].part, tasks)
        if ascents:
            self.ascent = [ascent_grid(chunks.pop(), [classes[c] for c in targets], classes)]
        if minimal:
            self.minimal = from_chunks(MinimalPerturbations, chunks)


def target_classes(labels: np.ndarray, classes: int) -> list[int]:
    """The ten most frequent classes of the images, in their own order."""
    by_frequency = np.argsort(-np.bincount(labels, minlength=classes), kind="stable")[:_TARGETS]
    return sorted(int(c) for c in by_frequency)


def target_rows(curves: AttackCurves, targets: list[int], per_class: int) -> Tensor:
    """The first `per_class` correctly classified images of each class of `targets`."""
    rows = [np.flatnonzero((curves.labels == c) & curves.correct)[:per_class] for c in targets]
    return torch.from_numpy(np.concatenate(rows))
