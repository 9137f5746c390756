"""Robust accuracy by the AutoAttack standard: what is left after each of its attacks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.robustness_data import (
    LabelledImages,
    as_arrays,
    first_images,
    from_chunks,
    run_chunks,
)
from probe.analyses.adversarial.robustness_plan import STANDARD, Spending
from probe.analyses.job import Arrays, Job
from probe.exhibits.exhibits import Table
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import counted, format_eps, sentences
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.evaluate import evaluate
from probe.methods.adversarial.standard_flags import StandardFlags, standard_flags


@dataclass(frozen=True)
class StandardOutcome:
    """One row an image. robust: (n, 1 + attacks) bool, without an attack and after each in turn. queries: (n, attacks)."""

    robust: np.ndarray
    queries: np.ndarray


@dataclass(frozen=True)
class StandardFindings:
    """Accuracies on `n` images at radius `eps`, and the forward passes an image that were spent, on average."""

    n: int
    eps: float
    clean: float
    robust: float
    queries: float


def measure_standard(
    job: Job, data: LabelledImages, attack: AutoAttack, seed: int, spending: Spending
) -> StandardOutcome:
    """Each of the standard's attacks on the images that those before it did not fool."""

    def compute(rows: Tensor) -> Arrays:
        pixels, labels, ids = data.select(rows)
        parts = attack.attacks(data.model)
        robust = torch.zeros(len(rows), 1 + len(parts), dtype=torch.bool)
        queries = torch.zeros(len(rows), len(parts), dtype=torch.long)
        left = torch.arange(len(rows))
        for k, part in enumerate(parts):
            there = left.to(pixels.device)
            outcome = evaluate(data.model, pixels[there], labels[there], part, seed=seed, ids=ids[left])
            if k == 0:
                robust[:, 0] = outcome.correct
            queries[left, k] = outcome.queries
            left = left[outcome.correct & ~outcome.fooled]
            robust[left, k + 1] = True
            if not len(left):
                break
        return as_arrays(StandardOutcome(robust.numpy(), queries.numpy()))

    # Small chunks, for each takes thousands of passes an image.
    items = torch.arange(len(data)).split(min(data.batch, 64))
    return from_chunks(StandardOutcome, run_chunks(job, data, spending, STANDARD, items, compute))


def measure_flags(data: LabelledImages, outcome: StandardOutcome) -> StandardFlags:
    """The flags of the standard, on its first images."""
    pixels, labels, _ = data.select(first_images(data))
    robust = outcome.robust.mean(0)
    return standard_flags(data.model, pixels, labels, square_gain=float(robust[-2] - robust[-1]))


def flag_warnings(f: StandardFlags) -> list[str]:
    """A sentence for each flag that is raised."""
    raised = {
        f"the logits of two passes over one image differ by up to {f.difference:.2g} (at length 1), so the attacks must"
        " average over many passes": f.random,
        "the outputs are probabilities, and not logits": f.probabilities,
        f"{f.zero_gradients} of {counted(f.n)} {'has' if f.zero_gradients == 1 else 'have'} a zero gradient of the"
        " cross-entropy": f.zero_gradients > 0,
        "the forward pass computes gradients itself: such a defence needs a dedicated attack": f.differentiates,
        f"the square attack, which needs no gradient, takes another {f.square_gain:.1%} of accuracy from what the attacks"
        " with gradients left": f.black_box_wins,
    }
    return [
        f"AutoAttack warning flag: {text}. Its robust accuracy may be an overestimate."
        for text, flag in raised.items()
        if flag
    ]


def standard_number(outcome: StandardOutcome) -> Number:
    label = "robust accuracy under AutoAttack, at most"
    return proportion(int(outcome.robust[:, -1].sum()), len(outcome.robust), label=label)


def standard_table(data: LabelledImages, attack: AutoAttack, outcome: StandardOutcome) -> Table:
    """Robust accuracy and forward passes after each attack."""
    names = ["no attack", *(part.title for part in attack.attacks(data.model))]
    robust, queries = outcome.robust.mean(0), np.r_[0, outcome.queries.sum(0)]
    findings = StandardFindings(
        n=len(outcome.robust),
        eps=attack.eps,
        clean=float(robust[0]),
        robust=float(robust[-1]),
        queries=float(outcome.queries.sum(1).mean()),
    )
    return Table(
        title="AutoAttack, standard version",
        caption=standard_caption(findings),
        facts={"queries_per_image": findings.queries, "eps": findings.eps},
        columns=["attack", "robust accuracy after it", "robust images", "forward passes"],
        rows=[
            [name, float(share), int(count), int(passes)]
            for name, share, count, passes in zip(names, robust, outcome.robust.sum(0), queries, strict=True)
        ],
        formats={"robust accuracy after it": "{:.1%}", "forward passes": "{:,}"},
    )


def standard_caption(f: StandardFindings) -> str:
    return sentences(
        f"At eps {format_eps(f.eps)} the robust accuracy is at most {f.robust:.1%} ({counted(f.n)}, clean accuracy"
        f" {f.clean:.1%}).",
        "Each attack is run on the images that those before it did not fool.",
        f"{f.queries:,.0f} forward passes per image were spent on average.",
    )
