"""Per-image whitening as a first layer, as in TensorFlow's CIFAR tutorial."""

import pytest
import torch

from probe.errors import UserError
from probe.zoo import architectures, build
from probe.zoo.whitening import Standardise


def noise(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_each_image_is_standardised_as_tensorflow_does_it():
    pixels = noise(3, 3, 6, 5) * torch.tensor([1, 0.1, 0.5]).view(3, 1, 1, 1).double()
    outputs = Standardise()(pixels)
    for image, ours in zip(
        pixels * 255, outputs, strict=True
    ):  # tf.image.per_image_standardization, on bytes
        deviation = max(float(image.std(correction=0)), 1 / image.numel() ** 0.5)
        torch.testing.assert_close(ours, (image - image.mean()) / deviation, atol=1e-3, rtol=1e-4)
    assert outputs.flatten(1).mean(1).abs().max() < 1e-12
    torch.testing.assert_close(
        outputs.flatten(1).std(1, correction=0), torch.ones(3).double(), atol=1e-3, rtol=0
    )


def test_the_output_is_invariant_to_brightness_and_contrast():
    pixels = noise(2, 3, 8, 8) * 0.5
    torch.testing.assert_close(Standardise()(pixels), Standardise()(pixels * 1.5 + 0.1), atol=1e-5, rtol=0)


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
def test_a_constant_image_becomes_zeros_with_a_finite_gradient(grey):
    pixels = torch.full((1, 3, 32, 32), grey).requires_grad_()
    outputs = Standardise()(pixels)
    assert float(outputs.detach().abs().max()) < 1e-2
    (gradient,) = torch.autograd.grad(outputs.square().sum() + outputs[0, 0, 0, 0], pixels)
    assert bool(gradient.isfinite().all())


def test_the_gradient_is_that_of_finite_differences():
    assert torch.autograd.gradcheck(Standardise(), noise(2, 2, 4, 3).requires_grad_())


@pytest.mark.parametrize("name", [entry.name for entry in architectures().values() if entry.takes_images])
def test_every_image_network_keeps_its_parameters_and_addresses_behind_it(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        bare = build(name, classes=3)
        torch.manual_seed(0)
        whitened = build(name, classes=3, whiten=True)
    assert list(whitened._modules) == ["whiten", *bare._modules]
    old, new = bare.state_dict(), whitened.state_dict()
    assert list(old) == list(new)
    assert all(torch.equal(old[key], new[key]) for key in old)


def test_a_text_network_cannot_be_whitened():
    with pytest.raises(UserError, match="nothing to whiten"):
        build("text-convnet", whiten=True)
