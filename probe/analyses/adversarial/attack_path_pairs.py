"""Images with their adversarial versions, which every exhibit of the attack-path analysis compares."""

from dataclasses import dataclass

from torch import Tensor

from probe.data.images import Images
from probe.methods.adversarial.blackbox import random_noise
from probe.methods.adversarial.evaluate import Evaluation
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.model.model import Model


@dataclass(frozen=True)
class Pairs:
    """n images before and after an attack, one row an image, on the device of the model.

    before, after, noisy: (n, c, h, w) in [0, 1]; `noisy` are the images under random noise of the L2 norm of the attack.
    source, target: (n,) predictions before and after; source_confidence, target_confidence: (n,) theirs.
    batch: how many images fit into memory with their gradients.
    """

    before: Tensor
    after: Tensor
    noisy: Tensor
    source: Tensor
    target: Tensor
    source_confidence: Tensor
    target_confidence: Tensor
    batch: int

    def __len__(self) -> int:
        return len(self.before)


def make_pairs(model: Model, images: Images, evaluation: Evaluation, seed: int) -> Pairs:
    """The images that are fooled; where none is, those that are classified correctly.

    evaluation: of all of `images`, with pixels. seed: of the noise.
    """
    chosen = evaluation.fooled if evaluation.fooled.any() else evaluation.correct
    rows = chosen.nonzero()[:, 0]
    before, after = images.pixels(model.device)[rows], evaluation.pixels[rows]
    noise_rng = PerImageRng(seed, rows, like=before)
    return Pairs(
        before=before,
        after=after,
        noisy=random_noise(before, (after - before).flatten(1).norm(dim=1), noise_rng),
        source=evaluation.clean_prediction[rows].to(model.device),
        target=evaluation.prediction[rows].to(model.device),
        source_confidence=evaluation.clean_confidence[rows],
        target_confidence=evaluation.confidence[rows],
        batch=model.batch(gradient=True),
    )
