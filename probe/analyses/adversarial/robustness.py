"""How robust is the network, against whom, and can the answer be trusted?"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.robustness_attacks import (
    accuracy_chart,
    attack_table,
    l2_chart,
    share,
    standing,
)
from probe.analyses.adversarial.robustness_checks import checklist_table, file_table
from probe.analyses.adversarial.robustness_images import (
    class_chart,
    flow_matrix,
    fragile_pictures,
    margin_scatter,
)
from probe.analyses.adversarial.robustness_targets import ascent_pictures, target_matrix
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Number, Result
from probe.methods.adversarial.criteria import labels_or_predictions, make_criterion, predict
from probe.methods.adversarial.masking import CheckPlan, Robust, masking_checks
from probe.methods.adversarial.suite import (
    ATTACKS,
    Budget,
    attack_curves,
    minimal_perturbations,
    targeted_success,
)
from probe.methods.adversarial.universal import UniversalPerturbation
from probe.model.model import Model
from probe.params import Fraction

_FEW = 48  # images for the searches that need hundreds of passes an image
_TARGETS = 10


class Robustness(Analysis):
    """How robust is the network, against whom, and can the answer be trusted?"""

    name = "robustness"
    title = "Robustness"
    source = "Madry et al. 2018, arXiv 1706.06083; Carlini et al. 2019, arXiv 1902.06705; Croce & Hein 2020, arXiv 2003.01690"

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    points: int = Field(4, ge=1, le=20, description="radii to try above 0, up to eps")
    steps: int = Field(20, ge=2, le=1000, description="gradient steps of PGD")
    restarts: int = Field(1, ge=1, le=100, description="climbs of PGD from further random starts")
    queries: int = Field(200, ge=2, le=20_000, description="answers that the blind square attack may ask for")
    at_most: int = Field(128, ge=2, le=100_000, description="images to attack; drawn evenly over the classes")
    per_class: int = Field(3, ge=1, le=1000, description="images of each class to be led to each other class")
    fragile: int = Field(6, ge=1, le=50, description="most fragile images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        images = images.take(self.at_most, seed=seed)
        radii = np.linspace(0, self.eps, self.points + 1)[1:]
        effort = Budget(tuple(radii.tolist()), self.steps, self.restarts, self.queries, seed)
        labels = labels_or_predictions(model, images)
        make_criterion(model, images.select([0]).pixels(model.device), labels[:1])
        size = min(model.batch(gradient=True), 128)

        def these(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            return images.select(rows).pixels(model.device), labels[rows].to(model.device), rows

        everyone, few = torch.arange(len(images)), torch.arange(min(_FEW, len(images)))
        table = _joined(
            job.chunks(
                "attacks", everyone.split(size), lambda rows, _: attack_curves(model, *these(rows), effort)
            )
        )
        least = _joined(
            job.chunks(
                "smallest changes",
                few.split(size),
                lambda rows, _: minimal_perturbations(model, *these(rows), queries=self.queries, seed=seed),
            )
        )
        chosen = _evenly(table["label"], table["right"], self.per_class)
        targets = _targets(table["label"], len(model.classes))
        led_steps = -(-self.steps // 2)  # there are ten times as many tries as images
        flows = job.chunks(
            "targets",
            targets,
            lambda target, _: _joined([
                targeted_success(model, *these(rows), target, eps=self.eps, steps=led_steps, seed=seed)
                for rows in chosen.split(size)
            ]),
        ) if len(chosen) else []  # fmt: skip
        checks = masking_checks(
            model,
            *these(few)[:2],
            CheckPlan(eps=self.eps, steps=self.steps, queries=self.queries, seed=seed),
            ids=few,
            robust=Robust(
                **{
                    name: torch.from_numpy(~table["fooled"][: len(few), ATTACKS.index(attack), -1])
                    for name, attack in (("fgsm", "FGSM"), ("pgd", "PGD"), ("square", "square"))
                }
            ),
        )
        shared = self._universal(model, images, labels, size, seed)
        exhibits: list[Exhibit] = [
            accuracy_chart(table, radii),
            attack_table(table, least, shared, self.eps, self.steps, self.queries),
            checklist_table(checks, len(few)),
            l2_chart(table["right"][: len(few)], least),
            *margin_scatter(table, model.classes),
            *fragile_pictures(model, images, labels, table, self.fragile, self.steps, seed),
            class_chart(table, model.classes, self.eps),
            *flow_matrix(table, model.classes, self.eps),
            *target_matrix(flows, targets, model.classes, self.eps, led_steps),
            ascent_pictures(model, images, table, targets, self.steps, seed),
            file_table(table, self.eps),
        ]
        return Result(
            exhibits=exhibits,
            numbers=self._numbers(table, radii, least, checks),
            warnings=self._warnings(images, table, checks),
        )

    def _universal(
        self, model: Model, images: Images, labels: Tensor, size: int, seed: int
    ) -> tuple[int, int, int]:
        """One change for all, made from every second image: how many of the others stand it, were right, and are there."""
        made, unseen = torch.arange(0, len(images), 2), torch.arange(1, len(images), 2)
        pixels = images.select(made).pixels(model.device)
        perturbation = UniversalPerturbation(eps=self.eps, batch=size)
        change = perturbation.fit(model, pixels, labels[made].to(model.device), seed=seed)
        stand = right = 0
        for rows in unseen.split(size):
            batch, truth = images.select(rows).pixels(model.device), labels[rows].to(model.device)
            was = predict(model, batch).argmax(1) == truth
            still = predict(model, (batch + change).clamp(0, 1)).argmax(1) == truth
            stand, right = stand + int((was & still).sum()), right + int(was.sum())
        return stand, right, len(unseen)

    def _numbers(self, table: dict, radii: np.ndarray, least: dict, checks: list) -> dict[str, Number]:
        n, fooled = len(table["right"]), table["fooled"][:, :, -1]
        pgd = ATTACKS.index("PGD")
        numbers = {
            "clean accuracy": share(int(table["right"].sum()), n),
            "accuracy under PGD": share(int((table["right"] & ~fooled[:, pgd]).sum()), n),
            "accuracy under the worst attack": share(int(standing(table, radii)[:, -1].sum()), n),
        }
        for name, values in (
            ("median minimal eps", table["least"][table["right"]]),
            ("median minimal L2", least["carlini_l2"][table["right"][: len(least["carlini_l2"])]]),
        ):
            if len(values) and np.isfinite(middle := np.sort(values)[(len(values) - 1) // 2]):
                numbers[name] = Number(value=float(middle), n=len(values), format="{:.4f}")
        numbers["signs of masking"] = Number(
            value=sum(c.verdict == "WARN" for c in checks), n=len(checks), format="{:.0f}"
        )
        return numbers

    def _warnings(self, images: Images, table: dict, checks: list) -> list[str]:
        return [
            *([UNLABELLED] if images.labels is None else []),
            *invalid_warning(torch.from_numpy(table["void"])),
            *masking_warnings(checks),
        ]


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _evenly(labels: np.ndarray, right: np.ndarray, per_class: int) -> Tensor:
    """The first `per_class` images of every class that are answered rightly, of the ten most frequent classes."""
    classes = _targets(labels, int(labels.max()) + 1)
    rows = [np.flatnonzero((labels == c) & right)[:per_class] for c in classes]
    return torch.from_numpy(np.concatenate(rows))


def _targets(labels: np.ndarray, count: int) -> list[int]:
    """The ten most frequent classes of the images, in their own order."""
    often = np.argsort(-np.bincount(labels, minlength=count), kind="stable")[:_TARGETS]
    return sorted(int(c) for c in often)
