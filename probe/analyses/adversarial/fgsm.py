"""How far does one signed gradient step move the network?"""

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from probe.analyses.adversarial.masking_report import masking_warnings
from probe.analyses.adversarial.warnings import UNLABELLED, invalid_warning
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job
from probe.data.images import Images
from probe.errors import UserError, unknown
from probe.exhibits.exhibits import Chart, ImageGrid, Line
from probe.exhibits.result import Number, Result, proportion
from probe.exhibits.wording import counted, format_eps
from probe.methods.adversarial.criteria import Loss, labels_or_predictions, make_criterion, predict
from probe.methods.adversarial.gradient_attacks import FGSM, LOSS, ray, sweep
from probe.methods.adversarial.masking import GRADIENT, SAMPLE, Check, quick_checks
from probe.methods.adversarial.min_radius import min_radius_on_ray
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model
from probe.params import Fraction
from probe.statistics import wilson_interval


def one_step(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    index: Tensor,
    *,
    eps: Tensor,
    loss: Loss,
    target: int | None,
    seed: int,
) -> dict[str, Tensor]:
    """What one step does to each image, and what noise of the same size does: tables of (n, radii).

    eps: (radii,), the first 0. answer, chance: the class answered and its probability. noisy: the class answered
    when every pixel moves by eps, up or down at random. least: (n,) the least radius that fools, up to 1. still: (n,)
    where the gradient is zero or NaN and nothing moves; void: where the step leads to answers that are no numbers.
    """
    aim = make_criterion(model, pixels, labels, target)
    along = ray(model, pixels, aim, loss=loss)
    if not bool(torch.isfinite(along.logits).all()):
        raise UserError(f"{model.name} answers some of the images with NaN or infinite numbers")
    chance, answer = sweep(model, along, eps).softmax(2).max(2)
    toss = PerImageRng(seed, index, like=pixels).uniform(torch.arange(len(index)), *pixels.shape[1:]) < 0.5
    signs = toss.to(pixels.dtype) * 2 - 1
    noisy = [predict(model, (pixels + e * signs).clamp(0, 1), len(pixels)).argmax(1) for e in eps.tolist()]
    return {
        "label": labels,
        "answer": answer.T,
        "chance": chance.T,
        "noisy": torch.stack(noisy, 1),
        "least": min_radius_on_ray(model, along, aim),
        "still": ~along.direction.flatten(1).any(1),
        "void": chance.isnan().any(0),
    }


class Fgsm(Analysis):
    """How far does one signed gradient step move the network?"""

    name = "fgsm"
    title = "Fast gradient sign attack"
    source = "Goodfellow et al. 2015, arXiv 1412.6572"

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    points: int = Field(6, ge=1, le=50, description="radii to try above 0, up to eps")
    loss: Loss = Field("log-odds", description=LOSS)
    target: str = Field("", description="class to be answered, by name or number (default: any wrong one)")
    at_most: int = Field(
        1000, ge=1, le=1_000_000, description="images to attack; drawn evenly over the classes"
    )
    examples: int = Field(4, ge=1, le=20, description="images to show")

    def run(self, model: Model, images: Images, job: Job) -> Result:
        target = class_of(model, self.target) if self.target else None
        eps = torch.linspace(0, self.eps, self.points + 1, dtype=torch.float64)
        size, seed = model.batch(gradient=True), job.seed()
        images = images.take(self.at_most, seed=seed)
        first = images.select(torch.arange(min(SAMPLE, len(images))))
        checks = quick_checks(
            model, first.pixels(model.device), labels_or_predictions(model, first), loss=self.loss
        )
        tables: list[dict[str, Tensor]] = []
        for batch in job.progress(images.batches(size, model.device), "fgsm", -(-len(images) // size)):
            labels = predict(model, batch.pixels).argmax(1) if batch.labels is None else batch.labels
            # What is of the target class already cannot be led there.
            rows = (labels != target).nonzero()[:, 0] if target is not None else torch.arange(len(labels))
            if len(rows):
                at = batch.positions[rows.cpu()]
                found = one_step(
                    model,
                    batch.pixels[rows],
                    labels[rows],
                    at,
                    eps=eps,
                    loss=self.loss,
                    target=target,
                    seed=seed,
                )
                tables.append({"index": at, **{name: values.cpu() for name, values in found.items()}})
        if not tables:
            raise UserError(
                f"every image is of the target class {self.target} already: choose another target"
            )
        table = {name: torch.cat([t[name] for t in tables]) for name in tables[0]}
        return self._result(model, images, table, eps.numpy(), target, checks)

    def _result(
        self, model: Model, images: Images, table: dict[str, Tensor], eps: np.ndarray, target: int | None,
        checks: list[Check],
    ) -> Result:  # fmt: skip
        label, answer, n = table["label"], table["answer"], len(table["label"])
        right = answer[:, 0] == label
        failed = answer != label[:, None] if target is None else answer == target
        failed &= ~table["chance"].isnan()
        noisy = table["noisy"] != label[:, None] if target is None else table["noisy"] == target
        stands, calm = (~failed).sum(0).tolist(), (~noisy).sum(0).tolist()
        wrong = failed[:, -1]
        sure = float(table["chance"][wrong, -1].mean()) if wrong.any() else 0.0
        least = table["least"][right & ~failed[:, 0]]
        middle = float(least.kthvalue((len(least) + 1) // 2).values) if len(least) else np.inf
        what = "accuracy" if target is None else f"share not answered {model.classes[target]}"
        band = [[wilson_interval(k, n) for k in counts] for counts in (stands, calm)]
        numbers = {
            f"{what} at eps {format_eps(self.eps)}": proportion(stands[-1], n, format="{:.2%}"),
            "clean accuracy": proportion(int(right.sum()), n, format="{:.2%}"),
        }
        warnings = [UNLABELLED] if images.labels is None else []
        if still := int(table["still"].sum()):
            warnings.append(
                f"{still:,} of {n:,} images give a gradient of zero or NaN, so the step does not move them: that they"
                " are not fooled is no robustness. `probe robustness` tries attacks that need no gradient."
            )
        warnings += invalid_warning(table["void"]) + masking_warnings(
            [c for c in checks if not still or c.name != GRADIENT]
        )
        if np.isfinite(middle):
            numbers["median minimal eps"] = Number(value=middle, n=len(least), format="{:.4f}")
            grey = f" Half of the images that were right are fooled by eps {middle:.4f}, {255 * middle:.1f} grey levels."
        else:
            grey = " More than half of the images are never fooled on their ray, so there is no median minimal eps."
        went = f"stays at {stands[-1] / n:.1%}" if stands[-1] == stands[0] else (
            f"{'falls' if stands[-1] < stands[0] else 'rises'} from {stands[0] / n:.1%} to {stands[-1] / n:.1%}"
        )  # fmt: skip
        chart = Chart(
            title="Accuracy against the size of the step",
            caption=f"{what.capitalize()} {went} at eps {format_eps(self.eps)}"
            f" ({255 * self.eps:.3g} grey levels); noise of the same size leaves {calm[-1] / n:.1%}."
            + (f" The wrong answers there have a mean probability of {sure:.0%}." if wrong.any() else "")
            + grey
            + f" Bands: 95 %, {counted(n)}.",
            lines=[
                Line(name=name, x=eps, y=np.array(counts) / n, low=np.array([b[0] for b in ends]),
                     high=np.array([b[1] for b in ends]), dashed=dashed)
                for name, counts, ends, dashed in (
                    ("one signed gradient step", stands, band[0], False), ("random signs of the same size", calm, band[1], True)
                )
            ],
            x_label="eps: change of every pixel, of [0, 1]",
            y_label=what,
            y_range=(0, 1),
        )  # fmt: skip
        return Result(exhibits=[chart, self._pictures(model, images, table, right, wrong, target)], numbers=numbers,
                      warnings=warnings)  # fmt: skip

    def _pictures(
        self,
        model: Model,
        images: Images,
        table: dict[str, Tensor],
        right: Tensor,
        wrong: Tensor,
        target: int | None,
    ) -> ImageGrid:
        rows = picked(table["label"], right & wrong, right & ~wrong, count=self.examples)
        pixels, labels = images.select(table["index"][rows]).pixels(model.device), table["label"][rows]
        attack = FGSM(eps=self.eps, loss=self.loss)
        moved = attack(model, pixels, labels.to(model.device), targets=target).pixels
        factor = 0.5 / self.eps
        grid, said = [], []
        for place, row in enumerate(rows.tolist()):
            clean, after = (p[place].permute(1, 2, 0).cpu().numpy() for p in (pixels, moved))
            grid += [clean, np.clip(0.5 + factor * (after - clean), 0, 1), after]
            texts = [
                f"{model.classes[int(table['answer'][row, k])]} ({float(table['chance'][row, k]):.1%})"
                for k in (0, -1)
            ]
            said += [texts[0], f"enlarged {factor:.3g} x", texts[1]]
        fooled = int((right & wrong)[rows].sum())
        return ImageGrid(
            title="What the step changes",
            caption=f"{fooled} of {len(rows)} fooled at eps {format_eps(self.eps)}; fooled images are shown"
            f" first, where there are any. The change is enlarged {factor:.3g} times, grey is no change; below each picture the answer and its probability.",
            images=grid,
            labels=said,
            columns=3 * min(2, len(rows)),
            column_headers=["image", "change, enlarged", "after the step"] * min(2, len(rows)),
        )


def class_of(model: Model, text: str) -> int:
    """The number of a class that is given by its name or its number; UserError where there is none."""
    if text in model.classes:
        return model.classes.index(text)
    if text.isdecimal() and int(text) < len(model.classes):
        return int(text)
    raise unknown("class", text, model.classes, hint=f"{model.name} has {len(model.classes)}.")


def picked(labels: Tensor, *preferred: Tensor, count: int) -> Tensor:
    """Up to `count` rows: those where the first mask holds, then the second, ..., one of each class before two of any."""
    chosen: list[int] = []
    for mask in (*preferred, torch.ones_like(labels, dtype=torch.bool)):
        rows, turn = mask.nonzero()[:, 0], torch.zeros(int(mask.sum()), dtype=torch.long)
        for c in labels[rows].unique().tolist():
            same = labels[rows] == c
            turn[same] = torch.arange(int(same.sum()))
        chosen += [r for r in rows[turn.argsort(stable=True)].tolist() if r not in chosen]
        if len(chosen) >= count:
            break
    return torch.tensor(chosen[:count])
