"""The top activations of channels over a set of images, in chunks where it is large."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from probe.analyses.image_chunks import over_images
from probe.analyses.job import Arrays, Job
from probe.data.images import Batch, Images
from probe.methods.units.top_patches import TopActivations, merge_top_activations, top_activations
from probe.model.model import Model

_BY_RANK = ("value", "image", "row", "column")


def chunked_top_activations(
    model: Model, images: Images, addresses: Sequence[str], k: int, job: Job
) -> dict[str, TopActivations]:
    """`top_activations` over all images; a chunk returns the k largest of its images."""
    channels = [model.layers.find(address).channels for address in addresses]

    def compute(batches: Iterable[Batch], n: int) -> Arrays:
        return _packed(list(top_activations(model, batches, addresses, k=k).values()))

    chunks = over_images(job, "patches", model, images, compute, deepest=_deepest(model, addresses))
    merged = merge_top_activations([_unpacked(chunk, len(model.classes)) for chunk in chunks], k)
    return dict(zip(addresses, _layers(merged, channels), strict=True))


def _packed(layers: Sequence[TopActivations]) -> Arrays:
    """The layers side by side as arrays, with the sums of those classes alone that there are images of."""
    first = layers[0]
    present = first.class_counts.nonzero()[:, 0]
    arrays = {name: torch.cat([getattr(layer, name) for layer in layers]) for name in (*_BY_RANK, "positive")}
    arrays["class_sums"] = torch.cat([layer.class_sums[present] for layer in layers], 1)
    arrays |= {"classes": present, "class_counts": first.class_counts, "n": torch.tensor(first.n)}
    return {name: tensor.numpy() for name, tensor in arrays.items()}


def _unpacked(arrays: Arrays, classes: int) -> TopActivations:
    """What `_packed` was made of, as one layer."""
    sums = np.zeros((classes, arrays["class_sums"].shape[1]), arrays["class_sums"].dtype)
    sums[arrays["classes"]] = arrays["class_sums"]
    tensors = {name: torch.from_numpy(arrays[name]) for name in (*_BY_RANK, "positive", "class_counts")}
    return TopActivations(**tensors, n=int(arrays["n"]), class_sums=torch.from_numpy(sums))


def _layers(merged: TopActivations, channels: Sequence[int]) -> list[TopActivations]:
    """The layers of which `merged` has the channels side by side."""
    by_channel = {name: getattr(merged, name).split(list(channels)) for name in (*_BY_RANK, "positive")}
    sums = merged.class_sums.split(list(channels), 1)
    return [
        replace(merged, class_sums=sums[i], **{name: parts[i] for name, parts in by_channel.items()})
        for i in range(len(channels))
    ]


def _deepest(model: Model, addresses: Sequence[str]) -> str:
    """The last of the layers in the order of the forward pass."""
    return [layer.address for layer in model.layers if layer.address in addresses][-1]
