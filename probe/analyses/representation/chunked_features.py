"""The features of a set of images in several layers, in chunks where it is large."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from probe.analyses.image_chunks import over_images
from probe.analyses.job import Arrays, Job
from probe.data.images import Batch, Images
from probe.methods.representation.features import Pool, feature_widths, features
from probe.model.model import Model


def chunked_features(
    model: Model, images: Images, addresses: Sequence[str], job: Job, *, pool: Pool
) -> dict[str, Tensor]:
    """`features` of all images: {address: (n, features) float32 on the model's device}."""
    feature_widths(model, addresses, n=len(images), pool=pool)  # before anything is computed

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        rows = features(model, batches, addresses, n=n, pool=pool)
        return {str(number): rows[address].cpu().numpy() for number, address in enumerate(addresses)}

    chunks = over_images(job, "features", model, images, compute)
    parts = {
        address: [chunk.pop(str(number)) for chunk in chunks] for number, address in enumerate(addresses)
    }
    return {
        address: torch.cat([torch.from_numpy(part) for part in parts.pop(address)]).to(model.device)
        for address in addresses
    }
