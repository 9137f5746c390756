"""Are the strongest images, their places and the class means those of a slow search, and does memory stay flat?"""

import pytest
import torch
from torch import nn

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.units.top_patches import selectivity, spatial_max, top_activations
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
    found = top_activations(convnet, noise_images.batches(size), [address, "9"], k=4)[address]
    value, image = maps.amax((2, 3)).T.sort(1, descending=True)
    torch.testing.assert_close(found.value, value[:, :4])
    live = found.value > 0
    assert torch.equal(found.image[live], image[:, :4][live])
    channel = torch.arange(maps.shape[1])[:, None]
    torch.testing.assert_close(maps[found.image, channel, found.row, found.column], found.value)
    torch.testing.assert_close(found.active, (maps.amax((2, 3)) > 0).float().mean(0))
    assert found.by_class is not None
    labels = noise_images.labels
    means = torch.stack([maps.amax((2, 3)).clamp(min=0)[labels == c].mean(0) for c in range(10)])
    torch.testing.assert_close(found.by_class, means)


def test_a_layer_without_maps_counts_as_maps_of_one_unit(convnet: Model, noise_images: Images) -> None:
    logits = convnet.logits(noise_images.pixels())
    found = top_activations(convnet, noise_images.batches(16), ["9"], k=3)["9"]
    assert torch.equal(found.image, logits.T.argsort(1, descending=True)[:, :3])
    assert not found.row.any()
    assert not found.column.any()


def test_fewer_images_than_asked_for_give_as_many_as_there_are(convnet: Model, noise_images: Images) -> None:
    found = top_activations(convnet, noise_images.take(5).batches(2), ["4"], k=9)["4"]
    assert found.value.shape == (12, 5)
    assert bool(torch.isfinite(found.value).all())
    assert all(sorted(row) == [0, 1, 2, 3, 4] for row in found.image.tolist())


def test_a_network_that_answers_nan_is_refused_in_one_line(convnet: Model, noise_images: Images) -> None:
    with torch.no_grad():
        convnet.network.get_parameter("4.bias")[3] = torch.nan
    with pytest.raises(UserError, match="NaN in 4"):
        top_activations(convnet, noise_images.batches(16), ["4"])


@pytest.mark.parametrize("form", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(3, 5, 7, 4), (2, 1, 6, 6), (4, 3, 1, 1), (2, 16, 32, 32)])
def test_peaks_are_amax_in_every_memory_format(form: torch.memory_format, shape: tuple[int, ...]) -> None:
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).contiguous(memory_format=form)
    assert torch.equal(spatial_max(maps), maps.amax((2, 3)))
    assert torch.equal(spatial_max(maps[:, :, ::2]), maps[:, :, ::2].amax((2, 3)))


def test_selectivity_is_one_for_one_class_alone_and_zero_for_all_alike() -> None:
    by_class = torch.tensor([[2.0, 1.0, 3.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, 1.0, 1.0, 0.0]])
    torch.testing.assert_close(selectivity(by_class), torch.tensor([1.0, 0.0, 0.5, 0.0]))
    missing = torch.cat([by_class, torch.full((1, 4), torch.nan)])
    torch.testing.assert_close(selectivity(missing), torch.tensor([1.0, 0.0, 0.5, 0.0]))


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    """What lives on after a batch is the same after two batches and after forty."""
    import gc

    model = model_of(
        nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)), (1, 8, 8), 2
    )
    alive: list[int] = []

    def watched(images: Images):
        for batch in images.batches(5):
            yield batch
            gc.collect()
            alive.append(sum(o.numel() for o in gc.get_objects() if issubclass(type(o), torch.Tensor)))

    top_activations(model, watched(Images.from_tensor(torch.rand(200, 1, 8, 8))), ["0", "1"], k=3)
    assert alive[-1] == alive[1]
