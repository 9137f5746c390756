"""The predictions of the chosen model on the chosen images, computed once for all pages."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from apps.jobs import Job
from apps.session import Choice, jobs, model_name, prepared_images
from apps.visitors import visitor
from probe.model.loading import load


@dataclass(frozen=True)
class Predictions:
    """One row an image. classes: (n,) predicted. confidence: (n,) softmax probability of the prediction."""

    classes: np.ndarray
    confidence: np.ndarray


def predictions_job(choice: Choice) -> Job:
    """The job that computes the predictions."""

    def work(display: Any) -> Predictions:
        model = load(choice.spec)
        images = prepared_images(choice.spec, choice.data, choice.n, choice.seed)
        size = model.batch()
        loop = display.start("batch", -(-len(images) // size))
        probabilities = []
        with torch.inference_mode():
            for batch in images.batches(size, model.device):
                probabilities.append(model.logits(batch.pixels).softmax(1).cpu())
                display.advance(loop)
        display.finish(loop)
        confidence, classes = torch.cat(probabilities).max(1)
        return Predictions(classes.numpy(), confidence.numpy())

    key = f"predictions {choice.spec} {choice.data} {choice.n} {choice.seed}"
    return jobs().submit(
        key, f"predictions of {model_name(choice.spec)}", work, visitor=visitor(), quick=True
    )
