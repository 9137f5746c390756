"""How robust is the network, to which attacks, and is its gradient masked?"""

from typing import Annotated

import numpy as np
import torch
from pydantic import BeforeValidator, Field

from probe.analyses.adversarial import robustness_plan as plan
from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.robustness_attacks import (
    STRONGEST,
    accuracy_chart,
    attack_table,
    minimal_chart,
    robust_to_all,
)
from probe.analyses.adversarial.robustness_checks import checks_table, quality_table, reencoding_table
from probe.analyses.adversarial.robustness_classes import class_chart, confusion_matrix
from probe.analyses.adversarial.robustness_data import (
    LabelledImages,
    first_images,
    in_turn,
    measure_curves,
)
from probe.analyses.adversarial.robustness_images import examples_grid, margin_scatter
from probe.analyses.adversarial.robustness_masking import measure_masking
from probe.analyses.adversarial.robustness_optional import OptionalMeasurements
from probe.analyses.adversarial.robustness_plan import MOST_IMAGES, Effort, Spending, budget_table, effort
from probe.analyses.adversarial.robustness_saved import checked_folder, save_adversarials
from probe.analyses.adversarial.robustness_standard import (
    flag_warnings,
    measure_flags,
    measure_standard,
    standard_number,
    standard_table,
)
from probe.analyses.adversarial.robustness_strongest import measure_strongest
from probe.analyses.adversarial.robustness_targets import target_matrix
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result, proportion
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.blackbox import SquareAttack
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import labels_or_predictions, make_criterion
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.adversarial.masking import Check, failed_checks, skipped_checks
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
    headlines = ("robust_accuracy_standard", "accuracy_strongest", "failed_checks")
    failures = "images that a perturbation within eps changes to another class"
    quick = {"minutes": 0.001, "eps_steps": 2}

    eps: Fraction = Field(
        8 / 255,
        gt=0,
        le=1,
        description="largest radius in [0, 1], for attacks that do not state their own",
    )
    eps_steps: int = Field(
        0, ge=0, le=20, description="number of radii between 0 and eps (0: 4, or 2 for expensive networks)"
    )
    attacks: Annotated[tuple[str, ...], BeforeValidator(_linf_attacks)] = Field(
        ("noise", "fgsm", "pgd", "square"),
        description="attacks to run: any of "
        + ", ".join(ATTACKS.catalogue)
        + ". By default pgd takes 20 steps and square 200 queries (10 and 60 for expensive networks)",
    )
    max_images: int = Field(
        0,
        ge=0,
        le=100_000,
        description="number of images to attack, sampled evenly over the classes (0: as many as the budget allows, "
        f"up to {MOST_IMAGES})",
    )
    targets_per_class: int = Field(
        3,
        ge=1,
        le=1000,
        description="maximum number of images per class that are attacked towards each other class",
    )
    minutes: float = Field(
        3,
        gt=0,
        le=10_000,
        description="computing budget in minutes on two cores, estimated from the cost of the network; it determines the "
        "parameters above that are not given, and how long the surviving images are attacked",
    )
    standard: bool = Field(
        False,
        description="also report the robust accuracy under AutoAttack (thousands of forward passes per image, in addition"
        " to the budget)",
    )
    save_adversarials: str = Field(
        "",
        description="folder to which the adversarial images are written, as adversarials.npz and as PNG files",
    )
    examples: int = Field(6, ge=1, le=50, description="number of images to show, the least robust ones")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        planned = effort(model, self.minutes)
        spending = Spending(planned.passes)
        budget = self._budget(job.seed(), planned)
        folder = checked_folder(self.save_adversarials) if self.save_adversarials else None
        images = images.take(self.max_images or MOST_IMAGES, seed=budget.seed)
        labels = labels_or_predictions(model, images)
        make_criterion(model, images.select([0]).pixels(model.device), labels[:1])
        order = in_turn(labels)
        data = LabelledImages(
            model, images.select(order), labels[order], batch=min(model.batch(gradient=True), 128)
        )
        curves, fragile = measure_curves(
            job,
            data,
            budget,
            spending,
            keep=len(data) if folder else self.examples,
            limit=min(self.max_images, len(data)),
        )
        data = data.first(len(curves))
        masking = measure_masking(job, data, curves, budget, spending)
        checks, quality = masking.checks, masking.quality
        optional = OptionalMeasurements(
            job, data, curves, budget, spending, self.targets_per_class, universal=masking.universal
        )
        optional.attack_targets()
        optional.search()
        strongest = measure_strongest(job, data, curves, fragile, budget, spending)
        optional.second_turn()
        curves = strongest.curves
        passes = sum(
            spending.spent[part].cost for part in (plan.ATTACKS, plan.STRONGEST) if part in spending.spent
        )
        exhibits: list[Exhibit] = [
            accuracy_chart(curves, budget, passes / len(curves), strongest.names),
            attack_table(curves, optional.minimal, optional.universal, budget),
            checks_table(checks, len(first_images(data))),
            *([quality_table(quality)] if quality is not None else []),
            *([minimal_chart(curves, optional.minimal)] if optional.minimal is not None else []),
            *margin_scatter(curves, model.classes),
            *examples_grid(data, curves, strongest.adversarials, self.examples),
            class_chart(curves, model.classes, budget),
            *confusion_matrix(curves, model.classes, budget),
            *target_matrix(optional.targeted, optional.targets, model.classes, budget),
            *optional.ascent,
            reencoding_table(curves, budget),
        ]
        numbers = _numbers(curves, optional.minimal, checks, budget)
        warnings = [
            *([UNLABELLED] if images.labels is None else []),
            *invalid_warning(torch.from_numpy(curves.invalid)),
            *masking_warnings(checks),
        ]
        if self.standard:
            attack = AutoAttack(eps=self.eps)
            outcome = measure_standard(job, data, attack, budget.seed, spending)
            exhibits.insert(2, standard_table(data, attack, outcome))
            numbers["robust_accuracy_standard"] = standard_number(outcome)
            warnings += flag_warnings(measure_flags(data, outcome))
        if folder:
            exhibits.append(save_adversarials(folder, data, curves, strongest.adversarials, budget))
        exhibits.append(budget_table(spending, self.minutes, len(curves)))
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _budget(self, seed: int, planned: Effort) -> Budget:
        attacks = tuple(
            _with_effort(ATTACKS.parse(text), planned).with_defaults(eps=self.eps) for text in self.attacks
        )
        radii = np.linspace(0, self.eps, (self.eps_steps or planned.eps_steps) + 1)[1:]
        return Budget(attacks, tuple(radii.tolist()), seed, search_rounds=planned.rounds)


def _with_effort(attack: Attack, planned: Effort) -> Attack:
    """PGD and the square attack with the planned effort where none is given."""
    if isinstance(attack, PGD):
        return attack.with_defaults(steps=planned.steps)
    return attack.with_defaults(queries=planned.queries) if isinstance(attack, SquareAttack) else attack


def _numbers(
    curves: AttackCurves, minimal: MinimalPerturbations | None, checks: list[Check], budget: Budget
) -> dict[str, Number]:
    n, reference = len(curves), budget.reference
    attack, title = budget.attacks[reference], budget.names[reference]
    numbers = {
        "accuracy_clean": proportion(int(curves.correct.sum()), n, label="clean accuracy"),
        f"accuracy_{attack.name.replace('-', '_')}": proportion(
            int(curves.robust[:, reference].sum()), n, label=f"accuracy under {title}"
        ),
        "accuracy_strongest": proportion(
            int(robust_to_all(curves, budget)[:, -1].sum()),
            n,
            label=f"accuracy under the {STRONGEST}, at most",
        ),
    }
    medians = [("median_min_eps", "median minimal eps", curves.min_eps[curves.correct])]
    if minimal is not None:
        norms = minimal.carlini_wagner[curves.correct[: len(minimal.carlini_wagner)]]
        medians.append(("median_min_l2", "median minimal L2 norm", norms))
    for key, label, values in medians:
        if len(values) and np.isfinite(median := np.sort(values)[(len(values) - 1) // 2]):
            numbers[key] = Number(value=float(median), label=label, n=len(values), format="{:.4f}")
    numbers["failed_checks"] = Number(
        value=len(failed_checks(checks)),
        label="failed masking checks",
        n=len(checks) - len(skipped_checks(checks)),
        format="{:.0f}",
    )
    return numbers
