"""Tests of the top activations of channels, against a slow search, and of the memory they take."""

import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.units.top_patches import class_selectivity, spatial_max, top_activations
from probe.model.model import Model
from tests.conftest import model_of


def maps_of(model: Model, images: Images, address: str) -> torch.Tensor:
    return model.features(images.pixels(), address)[address]


@pytest.mark.parametrize("size", [1, 7, 40])
@pytest.mark.parametrize("address", ["0", "1", "2", "4", "5"])
def test_one_pass_finds_what_sorting_all_activations_finds(
    convnet: Model, noise_images: Images, address: str, size: int
) -> None:
    maps = maps_of(convnet, noise_images, address)
    top = top_activations(convnet, noise_images.batches(size), [address, "9"], k=4)[address]
    value, image = maps.amax((2, 3)).T.sort(1, descending=True)
    torch.testing.assert_close(top.value, value[:, :4])
    positive = top.value > 0
    assert torch.equal(top.image[positive], image[:, :4][positive])
    channel = torch.arange(maps.shape[1])[:, None]
    torch.testing.assert_close(maps[top.image, channel, top.row, top.column], top.value)
    torch.testing.assert_close(top.active, (maps.amax((2, 3)) > 0).float().mean(0))
    assert top.class_means is not None
    labels = noise_images.labels
    means = torch.stack([maps.amax((2, 3)).clamp(min=0)[labels == c].mean(0) for c in range(10)])
    torch.testing.assert_close(top.class_means, means)


def test_a_layer_without_maps_counts_as_maps_of_one_unit(convnet: Model, noise_images: Images) -> None:
    logits = convnet.logits(noise_images.pixels())
    top = top_activations(convnet, noise_images.batches(16), ["9"], k=3)["9"]
    assert torch.equal(top.image, logits.T.argsort(1, descending=True)[:, :3])
    assert not top.row.any()
    assert not top.column.any()


def test_fewer_images_than_requested_give_as_many_as_there_are(convnet: Model, noise_images: Images) -> None:
    top = top_activations(convnet, noise_images.take(5).batches(2), ["4"], k=9)["4"]
    assert top.value.shape == (12, 5)
    assert bool(torch.isfinite(top.value).all())
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in top.image.tolist())


def test_a_network_that_produces_nan_is_refused_in_one_line(convnet: Model, noise_images: Images) -> None:
    with torch.no_grad():
        convnet.network.get_parameter("4.bias")[3] = torch.nan
    with pytest.raises(UserError, match="4 of convnet produces NaN"):
        top_activations(convnet, noise_images.batches(16), ["4"])


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (2, 1, 6, 6), (4, 3, 1, 1), (2, 16, 32, 32)])
def test_the_spatial_maximum_is_amax_in_every_memory_format(
    form: torch.memory_format, shape: tuple[int, ...]
) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=form)
    assert torch.equal(spatial_max(maps), maps.amax((2, 3)))
    assert torch.equal(spatial_max(maps[:, :, ::2]), maps[:, :, ::2].amax((2, 3)))


def test_selectivity_is_one_for_one_class_alone_and_zero_for_all_alike() -> None:
    class_means = torch.tensor([[2.0, 1.0, 3.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(class_selectivity(class_means), torch.tensor([1.0, 0.0, 0.5, 0.0]))
    missing = torch.cat([class_means, torch.full((1, 4), torch.nan)])
    torch.testing.assert_close(class_selectivity(missing), torch.tensor([1.0, 0.0, 0.5, 0.0]))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """What positives on after a batch is the same after two batches and after forty."""
    import gc

    model = model_of(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), (1, 8, 8), 2
    )
    apositive: list[int] = []

    def watched(images: Images):
        for batch in images.batches(5):
            yield batch
            gc.collect()
            apositive.append(sum(o.numel() for o in gc.get_objects() if issubclass(type(o), torch.Tensor)))

    top_activations(model, watched(Images.from_tensor(torch.rand(200, 1, 8, 8))), ["0", "1"], k=3)
    assert apositive[-1] == apositive[1]
