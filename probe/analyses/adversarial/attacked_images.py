"""How is it said which images were attacked, how far, and how many fell?"""

import torch
from torch import Tensor

from probe.data.images import Images
from probe.methods.adversarial.criteria import predict
from probe.model.model import Model

OWN_ANSWERS = (
    "The images have no labels: the network's own answers stand for the true classes, so it starts at 100 %."
)


def labels_or_predictions(model: Model, images: Images) -> Tensor:
    """The true classes (n,), or the network's own answers where there are none; on the CPU."""
    if images.labels is not None:
        return images.labels
    batches = images.batches(model.batch(), model.device)
    return torch.cat([predict(model, batch.pixels).argmax(1).cpu() for batch in batches])


def format_eps(eps: float) -> str:
    """8/255 where it is a whole number of grey levels, else its digits."""
    grey = 255 * eps
    return f"{round(grey)}/255" if abs(grey - round(grey)) < 1e-9 else f"{eps:g}"


def told(some: int, n: int) -> str:
    """The model of a sentence on `some` of `n` images, with its verb."""
    if n == 1:
        return "The image shown is" if some else "The image shown is not"
    if some == n:
        return f"All {n} images shown are"
    return f"{some} of the {n} images shown {'is' if some == 1 else 'are'}"
