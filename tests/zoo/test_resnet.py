"""Residual networks and their plain counterparts against a slow rewrite of the paper."""

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from probe.zoo import build
from probe.zoo.resnet import BasicBlock, PlainBlock, Subsample


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def with_trained_batch_norm(network: nn.Module) -> nn.Module:
    """Give batch norm weights and statistics other than zero and one, so that omitting one is noticed."""
    generator = torch.Generator().manual_seed(1)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for value, low, high in ((layer.weight, 0.2, 0.6), (layer.bias, -0.3, 0.3)):
                value.data.uniform_(low, high, generator=generator)
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.uniform_(-0.3, 0.3, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
    return network


def by_hand(state: dict[str, Tensor], x: Tensor, depth: int, *, skips: bool) -> Tensor:
    """The forward pass of He et al. 2016, section 4.2, from the weights alone, slowly."""

    def normalised(x: Tensor, name: str) -> Tensor:
        mean, var, scale, shift = (
            state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return torch.stack(
            [(x[:, c] - mean[c]) / (var[c] + 1e-5) ** 0.5 * scale[c] + shift[c] for c in range(x.shape[1])],
            dim=1,
        )

    def convolved(x: Tensor, name: str, stride: int) -> Tensor:
        weight = state[f"{name}.weight"]
        padded = F.pad(x, (1, 1, 1, 1))
        rows, columns = ((side - 1) // stride + 1 for side in x.shape[-2:])
        out = x.new_zeros(x.shape[0], weight.shape[0], rows, columns)
        for i in range(3):
            for j in range(3):
                seen = padded[
                    :,
                    :,
                    i : i + (rows - 1) * stride + 1 : stride,
                    j : j + (columns - 1) * stride + 1 : stride,
                ]
                out += torch.einsum("nchw,oc->nohw", seen, weight[:, :, i, j])
        return out

    x = normalised(convolved(x, "conv1", 1), "bn1").clamp(min=0)
    for stage in (1, 2, 3):
        for block in range((depth - 2) // 6):
            name, stride = f"layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            inner = normalised(convolved(x, f"{name}.conv1", stride), f"{name}.bn1").clamp(min=0)
            inner = normalised(convolved(inner, f"{name}.conv2", 1), f"{name}.bn2")
            if skips and stride == 2:
                skip = torch.zeros_like(inner)
                quarter = inner.shape[1] // 4
                skip[:, quarter : 3 * quarter] = x[:, :, ::2, ::2]
                inner = inner + skip
            elif skips:
                inner = inner + x
            x = inner.clamp(min=0)
    return x.mean(dim=(2, 3)) @ state["linear.weight"].T + state["linear.bias"]


@pytest.mark.parametrize(("name", "depth"), [("resnet56", 56), ("resnet20", 20), ("plain20", 20)])
def test_the_network_computes_what_the_paper_says(name, depth):
    network = with_trained_batch_norm(build(name)).double().eval()
    pixels = random(2, 3, 32, 32)
    with torch.inference_mode():
        expected = by_hand(network.state_dict(), pixels, depth, skips=name.startswith("resnet"))
        torch.testing.assert_close(network(pixels), expected, rtol=1e-9, atol=1e-9)
    assert expected.std() > 1e-3


def test_the_plain_network_has_the_same_layers_and_weights_without_the_additions():
    skips, without = build("resnet20"), build("plain20")
    assert list(skips.state_dict()) == list(without.state_dict())
    without.load_state_dict(skips.state_dict())
    extra = {
        name.rsplit(".", 1)[1]
        for name, _ in skips.named_modules()
        if name not in dict(without.named_modules())
    }
    assert extra == {"shortcut", "add"}
    for layer in skips.modules():
        if isinstance(layer, BasicBlock):
            layer.add.forward = lambda residual, skip: residual  # type: ignore[method-assign]
    pixels = random(2, 3, 32, 32).float()
    with torch.inference_mode():
        assert torch.equal(skips.eval()(pixels), without.eval()(pixels))


def test_a_block_without_its_residual_branch_is_the_identity_of_its_positive_input():
    positive = random(2, 16, 8, 8).abs().float()
    block = BasicBlock(16, 16, 1).eval()
    nn.init.zeros_(block.bn2.weight)
    with torch.inference_mode():
        assert torch.equal(block(positive), positive)
        assert torch.equal(block(-positive), torch.zeros_like(positive))
        plain = PlainBlock(16, 16, 1).eval()
        nn.init.zeros_(plain.bn2.weight)
        assert not plain(positive).any()


def test_the_shortcut_between_stages_keeps_every_second_pixel_between_zero_channels():
    x = random(1, 4, 6, 6)
    y = Subsample(4, 2)(x)
    assert y.shape == (1, 8, 3, 3)
    assert torch.equal(y[:, 2:6], x[:, :, ::2, ::2])
    assert not y[:, :2].any()
    assert not y[:, 6:].any()


def test_residual_branch_skip_connection_and_sum_can_each_be_hooked():
    network, seen = with_trained_batch_norm(build("resnet20")).eval(), {}
    for address in ("layer2.0.bn2", "layer2.0.shortcut", "layer2.0.add", "layer2.0.relu2", "layer2.0"):
        layer = network.get_submodule(address)
        layer.register_forward_hook(lambda _, __, out, address=address: seen.setdefault(address, out))
    with torch.inference_mode():
        network(random(2, 3, 32, 32).float())
    assert torch.equal(seen["layer2.0.bn2"] + seen["layer2.0.shortcut"], seen["layer2.0.add"])
    assert torch.equal(seen["layer2.0.add"].clamp(min=0), seen["layer2.0"])


def published(name: str) -> Path:
    """A published checkpoint below $PROBE_DATA; the test is skipped where there is none."""
    folder = Path(os.environ.get("PROBE_DATA", "nowhere")) / "cifar10" / "checkpoints"
    checkpoints = sorted(folder.glob(f"{name}-*.th"))
    if not checkpoints:
        pytest.skip(f"no published {name} below PROBE_DATA")
    return checkpoints[0]


@pytest.mark.parametrize(
    ("name", "accuracy"), [("resnet20", 0.8045), pytest.param("resnet56", 0.8415, marks=pytest.mark.slow)]
)
def test_published_weights_reach_their_accuracy_on_the_jpeg_copy_of_cifar10(name, accuracy):
    Image = pytest.importorskip("PIL.Image")
    checkpoint = torch.load(published(name), weights_only=True, map_location="cpu")
    network = build(name).eval()
    network.load_state_dict(
        {key.removeprefix("module."): value for key, value in checkpoint["state_dict"].items()}
    )
    pixels, labels = [], []
    with zipfile.ZipFile(Path(os.environ["PROBE_DATA"]) / "cifar10" / "cifar10-jpeg.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("test/") and n.endswith(".jpg"))
        classes = sorted({n.split("/")[1] for n in names})
        for label, kind in enumerate(classes):
            for file in [n for n in names if n.split("/")[1] == kind][::5]:
                with Image.open(io.BytesIO(archive.read(file))) as image:
                    pixels.append(np.asarray(image.convert("RGB")))
                labels.append(label)
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    images = (images - mean[:, None, None]) / std[:, None, None]
    with torch.inference_mode():
        predictions = torch.cat([network(part).argmax(1) for part in images.split(250)])
    assert len(labels) >= 1000
    # Another JPEG decoder rounds differently: the prediction of two images in 2,000 may differ.
    assert (predictions == torch.tensor(labels)).float().mean().item() == pytest.approx(accuracy, abs=0.001)
