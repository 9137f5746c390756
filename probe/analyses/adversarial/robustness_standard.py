"""Robust accuracy by the AutoAttack standard: what is left after each of its attacks."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.analyses.adversarial.robustness_data import LabelledImages, as_arrays, from_chunks
from probe.analyses.job import Arrays, Job
from probe.exhibits.exhibits import Table
from probe.exhibits.result import Number, proportion
from probe.exhibits.wording import counted, format_eps, sentences
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.evaluate import evaluate


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


def measure_standard(job: Job, data: LabelledImages, attack: AutoAttack, seed: int) -> StandardOutcome:
    """Each of the standard's attacks on the images that those before it did not fool."""

    def compute(rows: Tensor, _: torch.Generator) -> Arrays:
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

    chunks = job.chunks("standard", data.split(torch.arange(len(data))), compute)
    return from_chunks(StandardOutcome, chunks)


def standard_number(outcome: StandardOutcome) -> Number:
    label = "robust accuracy by the AutoAttack standard, at most"
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
