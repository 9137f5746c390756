"""Scores of targets and their gradients with respect to the pixels."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from probe.errors import UserError
from probe.model.batching import in_batches
from probe.model.model import Model
from probe.model.targets import Targets, scores


@torch.no_grad()
def predict_scores(model: Model, pixels: Tensor, targets: Targets) -> Tensor:
    """The scores (n,) of any number of images, in batches and without gradients."""

    def of_rows(rows: Tensor) -> Tensor:
        return scores(model, pixels[rows], targets[rows])

    with uncompiled():
        return in_batches(of_rows, torch.arange(len(pixels), device=pixels.device), batch=model.batch())


@torch.no_grad()
def class_logits(model: Model, pixels: Tensor) -> Tensor:
    """The logits (n, classes) of any number of images, in batches and without gradients.

    Raises UserError where one is NaN or infinite.
    """
    with uncompiled():
        logits = in_batches(model.logits, pixels, batch=model.batch())
    if not bool(torch.isfinite(logits).all()):
        raise UserError(f"{model.name} produces NaN or infinity for some of {len(pixels)} images")
    return logits


def gradient_and_scores(model: Model, pixels: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
    """The gradient (n, c, h, w) of the scores, and the scores (n,), for one batch that fits memory."""
    with differentiable(pixels) as leaf, uncompiled():
        score = scores(model, leaf, targets)
        return gradient_of(score, leaf), score.detach()


def gradient_of(score: Tensor, leaf: Tensor) -> Tensor:
    """The gradient of the sum of `score` (n,) with respect to `leaf`: zeros where it does not depend on it.

    Raises UserError for a network that uses reentrant checkpointing.
    """
    if not score.requires_grad:
        return torch.zeros_like(leaf)
    try:
        (gradient,) = torch.autograd.grad(score.sum(), leaf, allow_unused=True)
    except RuntimeError as error:
        if "use_reentrant" in str(error) or "Checkpointing is not compatible" in str(error):
            raise UserError(
                "the network uses reentrant checkpointing, through which no gradient reaches the pixels: build it with use_reentrant=False"
            ) from None
        raise
    return torch.zeros_like(leaf) if gradient is None else gradient


@contextmanager
def differentiable(pixels: Tensor) -> Iterator[Tensor]:
    """Gradients on, whatever the caller switched off, and `pixels` as a leaf of their own."""
    with torch.inference_mode(False), torch.enable_grad():
        yield (pixels.clone() if pixels.is_inference() else pixels.detach()).requires_grad_()


def uncompiled() -> AbstractContextManager[Any]:
    """Run compiled parts of the network as the Python that they were: a compiled backward hides its ReLUs."""
    if "torch._dynamo" not in sys.modules:  # then nothing is compiled, and its import takes seconds
        return nullcontext()
    return torch.compiler.set_stance("force_eager")
