"""Stronger attacks on the images that survive the listed ones, as far as the budget goes."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.robustness_data import Adversarials, LabelledImages, run_chunks
from probe.analyses.adversarial.robustness_plan import STRONGEST, Spending
from probe.analyses.job import Arrays, Job, joined
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.evaluate import evaluate
from probe.methods.adversarial.suite import AttackCurves
from probe.methods.adversarial.survivors import stages

SMALL_BATCH = 16
"""Fewer images take no less time."""


@dataclass(frozen=True)
class StrongestOutcome:
    """curves, adversarials: after them. names: the attacks that were run, in this order."""

    curves: AttackCurves
    adversarials: Adversarials
    names: tuple[str, ...]


def measure_strongest(
    job: Job,
    data: LabelledImages,
    curves: AttackCurves,
    fragile: Adversarials,
    budget: Budget,
    spending: Spending,
) -> StrongestOutcome:
    """Attack the survivors with each of `stages` whose cost, if none of them falls, the rest of the budget covers."""
    eps = budget.eps[-1]
    names: list[str] = []
    for number, stage in enumerate(stages(data.model, eps)):
        survivors = np.flatnonzero(curves.correct & (curves.min_eps > eps * (1 + 1e-6) + 1e-6))
        if not len(survivors):
            break
        if stage.passes * max(len(survivors), SMALL_BATCH) > spending.left:
            continue

        def compute(rows: Tensor, attack=stage.attack, seed=budget.seed + stage.seed) -> Arrays:
            pixels, labels, ids = data.select(rows)
            outcome = evaluate(data.model, pixels, labels, attack, seed=seed, ids=ids)
            fooled = outcome.fooled.numpy()
            return {
                "rows": rows.numpy()[fooled],
                "size": outcome.linf.numpy()[fooled],
                "pixels": outcome.pixels.cpu().numpy()[fooled],
            }

        items = data.split(torch.from_numpy(survivors), passes=stage.passes)
        successes = joined(
            run_chunks(job, data, spending, STRONGEST, items, compute, name=f"{STRONGEST} {number + 1}")
        )
        names.append(stage.attack.title)
        min_eps = curves.min_eps.copy()
        min_eps[successes["rows"]] = np.minimum(min_eps[successes["rows"]], successes["size"])
        curves = replace(curves, min_eps=min_eps)
        fragile = Adversarials(
            np.concatenate([fragile.rows, successes["rows"]]),
            np.concatenate([fragile.pixels, successes["pixels"]]),
        )
    return StrongestOutcome(curves, fragile, tuple(dict.fromkeys(names)))
