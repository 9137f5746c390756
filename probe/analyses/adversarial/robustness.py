"""How robust is the network, to which attacks, and is its gradient masked?"""

from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field

from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.robustness_attacks import (
    STRONGEST,
    accuracy_chart,
    attack_table,
    minimal_chart,
    robust_to_all,
)
from probe.analyses.adversarial.robustness_checks import checks_table, reencoding_table
from probe.analyses.adversarial.robustness_classes import class_chart, confusion_matrix
from probe.analyses.adversarial.robustness_data import (
    LabelledImages,
    first_images,
    measure_checks,
    measure_curves,
    measure_minimal,
    measure_targets,
    measure_universal,
    target_classes,
    target_rows,
)
from probe.analyses.adversarial.robustness_images import (
    examples_grid,
    margin_scatter,
)
from probe.analyses.adversarial.robustness_standard import measure_standard, standard_number, standard_table
from probe.analyses.adversarial.robustness_targets import ascent_grid, target_matrix
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result, proportion
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import labels_or_predictions, make_criterion
from probe.methods.adversarial.masking import Check, failed_checks
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.adversarial.suite import AttackCurves
from probe.methods.adversarial.suite_searches import MinimalPerturbations
from probe.model.model import Model
from probe.params import Fraction


def _linf_attacks(value: object) -> tuple[str, ...]:
    """Attacks as text; those of another norm have no place on an axis of Linf radii."""
    texts = ATTACKS.texts(value)
    if not texts:
        raise ValueError("name at least one attack")
    for text in texts:
        attack = ATTACKS.parse(text)
        if "eps" in type(attack).model_fields and getattr(attack, "norm", "linf") != "linf":
            raise ValueError(f"{text} is bounded in another norm: radii here are Linf")
    return texts


class Robustness(Analysis):
    """How robust is the network, to which attacks, and is its gradient masked?"""

    name = "robustness"
    title = "Robustness"
    source = "Madry et al. 2018, arXiv 1706.06083; Carlini et al. 2019, arXiv 1902.06705; Croce & Hein 2020, arXiv 2003.01690"

    eps: Fraction = Field(
        8 / 255,
        gt=0,
        le=1,
        description="largest radius, in [0, 1], of the attacks that do not give their own",
    )
    eps_steps: int = Field(4, ge=1, le=20, description="radii to try above 0, up to eps")
    attacks: Annotated[tuple[str, ...], BeforeValidator(_linf_attacks)] = Field(
        ("noise", "fgsm", "pgd(steps=20)", "square(queries=200)"),
        description="attacks to run, any of " + ", ".join(ATTACKS.catalogue),
    )
    max_images: int = Field(
        128, ge=2, le=100_000, description="images to attack; drawn evenly over the classes"
    )
    targets_per_class: int = Field(
        3, ge=1, le=1000, description="images of each class to attack towards each other class"
    )
    standard: bool = Field(
        False,
        description="also report the robust accuracy by the AutoAttack standard (thousands of passes an image)",
    )
    examples: int = Field(6, ge=1, le=50, description="least robust images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        budget = self._budget(job.seed())
        images = images.take(self.max_images, seed=budget.seed)
        labels = labels_or_predictions(model, images)
        make_criterion(model, images.select([0]).pixels(model.device), labels[:1])
        data = LabelledImages(model, images, labels, batch=min(model.batch(gradient=True), 128))
        curves = measure_curves(job, data, budget)
        minimal = measure_minimal(job, data, budget)
        targets = target_classes(curves.labels, len(model.classes))
        rows = target_rows(curves, targets, self.targets_per_class)
        targeted = measure_targets(job, data, rows, targets, budget)
        checks = measure_checks(data, curves, budget)
        universal = measure_universal(data, budget)
        exhibits: list[Exhibit] = [
            accuracy_chart(curves, budget),
            attack_table(curves, minimal, universal, budget),
            checks_table(checks, len(first_images(data))),
            minimal_chart(curves, minimal),
            *margin_scatter(curves, model.classes),
            *examples_grid(data, curves, budget, self.examples),
            class_chart(curves, model.classes, budget),
            *confusion_matrix(curves, model.classes, budget),
            *target_matrix(targeted, targets, model.classes, budget),
            ascent_grid(data, curves, targets, budget),
            reencoding_table(curves, budget),
        ]
        numbers = _numbers(curves, minimal, checks, budget)
        if self.standard:
            attack = AutoAttack(eps=self.eps)
            outcome = measure_standard(job, data, attack, budget.seed)
            exhibits.insert(2, standard_table(data, attack, outcome))
            numbers["robust_accuracy_standard"] = standard_number(outcome)
        warnings = [
            *([UNLABELLED] if images.labels is None else []),
            *invalid_warning(torch.from_numpy(curves.invalid)),
            *masking_warnings(checks),
        ]
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _budget(self, seed: int) -> Budget:
        attacks = tuple(ATTACKS.parse(text).with_defaults(eps=self.eps) for text in self.attacks)
        radii = np.linspace(0, self.eps, self.eps_steps + 1)[1:]
        return Budget(attacks, tuple(radii.tolist()), seed)


def _numbers(
    curves: AttackCurves, minimal: MinimalPerturbations, checks: list[Check], budget: Budget
) -> dict[str, Number]:
    n, reference = len(curves), budget.reference
    attack, title = budget.attacks[reference], budget.names[reference]
    numbers = {
        "accuracy_clean": proportion(int(curves.correct.sum()), n, label="clean accuracy"),
        f"accuracy_{attack.name.replace('-', '_')}": proportion(
            int(curves.robust[:, reference].sum()), n, label=f"accuracy under {title}"
        ),
        "accuracy_strongest": proportion(
            int(robust_to_all(curves, budget)[:, -1].sum()), n, label=f"accuracy under the {STRONGEST}"
        ),
    }
    correct = curves.correct[: len(minimal.carlini_wagner)]
    for key, label, values in (
        ("median_min_eps", "median minimal eps", curves.min_eps[curves.correct]),
        ("median_min_l2", "median minimal L2 norm", minimal.carlini_wagner[correct]),
    ):
        if len(values) and np.isfinite(median := np.sort(values)[(len(values) - 1) // 2]):
            numbers[key] = Number(value=float(median), label=label, n=len(values), format="{:.4f}")
    numbers["failed_checks"] = Number(
        value=len(failed_checks(checks)), label="failed masking checks", n=len(checks), format="{:.0f}"
    )
    return numbers
