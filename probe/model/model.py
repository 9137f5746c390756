"""Model: a trained network with its pixel space and classes, ready for analysis."""

import copy
import hashlib
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor, nn

from probe.errors import NoGradientError, UserError
from probe.model.batching import batch_in_cache, batch_size
from probe.model.cards import Card
from probe.model.consistency import Consistency, measure_consistency
from probe.model.layers import Layers
from probe.model.observer import activations, resolve
from probe.model.outputs import find_logits
from probe.model.parametrisation import with_plain_weights
from probe.model.state import preserved_state
from probe.model.tracing import trace_layers


class Model:
    """A network, its pixel space and its classes.

    The network is in evaluation mode and its parameters are frozen; what computes its weights from others (weight norm,
    pruning) is replaced, in a copy, by the weights. Everything outside is in pixel space: [0, 1], (n, c, h, w), float32;
    normalisation and the network's own precision happen here and nowhere else. folder: the one it was loaded from, with its
    card and, if probe trained it, the history of its training; None if it was not loaded from a folder. spec: what
    `load` made it of; None for a network in memory.
    """

    def __init__(
        self,
        network: nn.Module,
        card: Card,
        device: torch.device | str = "cpu",
        *,
        folder: Path | None = None,
        spec: str | None = None,
    ) -> None:
        self.card = card
        self.folder = folder
        self.spec = spec
        self._batches: dict[bool, int] = {}
        self.name = card.name
        self.classes = card.classes
        self.shape = card.input.shape
        self.device = torch.device(device)
        self.network = _ready(network).to(self.device)
        channels = (1, len(card.input.mean), 1, 1)
        self._mean = torch.tensor(card.input.mean, device=self.device).view(channels)
        self._std = torch.tensor(card.input.std, device=self.device).view(channels)

    def __repr__(self) -> str:
        return f"Model({self.name}, {self.card.architecture}, {len(self.classes)} classes, {self.device})"

    def normalise(self, pixels: Tensor) -> Tensor:
        """The input of the network for `pixels`, in its precision; ValueError if their shape is not the model's."""
        if pixels.ndim != 4 or tuple(pixels.shape[1:]) != self.shape:
            shape = " x ".join(map(str, self.shape))
            raise ValueError(f"{self.name} takes pixels of shape (n, {shape}), got {tuple(pixels.shape)}")
        normalised = (pixels - self._mean.to(pixels.dtype)) / self._std.to(pixels.dtype)
        return normalised if pixels.dtype == self.dtype else normalised.to(self.dtype)

    def logits(self, pixels: Tensor) -> Tensor:
        """(n, c, h, w) in [0, 1] -> (n, classes), differentiable, in the precision of `pixels`.

        Raises UserError where a network that returns several tensors has no logits among them, and where the logits
        have no gradient although `pixels` require one.
        """
        logits = find_logits(self.network(self.normalise(pixels)), len(self.classes), self.name)
        return self.as_pixels(logits, pixels)

    def features(self, pixels: Tensor, *addresses: str) -> dict[str, Tensor]:
        """{address: activation (n, ...)} for `pixels`; the forward pass stops after the deepest of them.

        Differentiable. Raises UserError for an address that does not exist.
        """
        for address in addresses:
            self.layers.find(address)
        return {
            address: self.as_pixels(activation, pixels)
            for address, activation in activations(self.network, self.normalise(pixels), addresses).items()
        }

    @cached_property
    def dtype(self) -> torch.dtype:
        """The precision in which the network takes its input: that of its first weights."""
        return next((p.dtype for p in self.network.parameters() if p.is_floating_point()), torch.float32)

    def module(self, address: str) -> nn.Module | None:
        """The module whose call is at `address`; None where a function's is."""
        modules = dict(self.network.named_modules(remove_duplicate=False))
        owner, function, _ = resolve(address, modules)
        return None if function else modules[owner]

    @cached_property
    def layers(self) -> Layers:
        """Address, kind, output shape, parameters, MACs and receptive field of every layer."""
        with preserved_state(self.network):
            try:
                return trace_layers(self.network, self.shape, self.name, len(self.classes))
            except UserError:
                raise
            except (RuntimeError, ValueError, TypeError) as error:
                shape, reason = " x ".join(map(str, self.shape)), str(error).strip().split("\n")[0]
                raise UserError(f"{self.name} cannot process a single image of {shape} ({reason})") from error

    @cached_property
    def consistency(self) -> Consistency:
        """Whether the logits of an image depend on its batch or on chance."""
        with preserved_state(self.network):
            return measure_consistency(
                lambda pixels: self.logits(pixels.to(self.device)).cpu(),
                self.shape,
                self.dtype,
                classes=len(self.classes),
                name=self.name,
            )

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the architecture, the input and every weight: models with the same digest predict the same."""
        hasher = hashlib.sha256()
        hasher.update(
            repr((self.card.architecture, self.card.options, self.card.input, self.classes)).encode()
        )
        for name, value in sorted(self.network.state_dict().items()):
            hasher.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            hasher.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
        return hasher.hexdigest()

    @cached_property
    def parameters(self) -> int:
        """Number of trainable values; running statistics are not counted."""
        return sum(p.numel() for p in self.network.parameters())

    def as_pixels(self, values: Tensor, pixels: Tensor) -> Tensor:
        """What the network has computed from `pixels`, in their precision.

        Raises NoGradientError, a UserError, where it has no gradient although `pixels` require one.
        """
        if pixels.requires_grad and torch.is_grad_enabled() and not values.requires_grad:
            raise NoGradientError(
                f"{self.name} has no gradient with respect to the pixels: it runs under torch.no_grad, or detaches or "
                "rounds them"
            )
        return (
            values
            if values.dtype == pixels.dtype or not values.is_floating_point()
            else values.to(pixels.dtype)
        )

    def batch(self, *, gradient: bool = False) -> int:
        """The number of images in a batch on this device. gradient: whether for a backward pass."""
        return self._batches.get(gradient) or batch_size(self.layers, self.device, gradient=gradient)

    def batch_in_cache(self, *, gradient: bool = False) -> int:
        """The number of images in a batch of which a CPU keeps the activations in its cache; otherwise that of `batch`."""
        return batch_in_cache(self.layers, self.device, self.batch(gradient=gradient))

    def fix_batches(self, sizes: dict[bool, int] | None = None) -> dict[bool, int]:
        """Fix the sizes of batches, with and without gradient, which otherwise follow the free memory of a GPU.

        sizes: those of this model in another process; None to take those of now. Returns the sizes.
        """
        self._batches = sizes or {gradient: self.batch(gradient=gradient) for gradient in (False, True)}
        return self._batches

    def at_size(self, height: int, width: int) -> "Model":
        """This model for images of another size; its layers are listed as at its own.

        For what lies before a flattening layer, or for all of a network that pools its last maps.
        """
        if (height, width) == self.shape[1:]:
            return self
        self.layers  # noqa: B018  traced at the model's own size
        resized = copy.copy(self)
        resized.shape = (self.shape[0], height, width)
        return resized

    def double(self) -> "Model":
        """A copy of the model in float64, for checks."""
        return Model(copy.deepcopy(self.network).double(), self.card, self.device)


def _ready(network: nn.Module) -> nn.Module:
    """Evaluation mode, frozen, uncompiled, channels last."""
    network = getattr(network, "_orig_mod", network)
    if isinstance(network, torch.jit.ScriptModule):
        raise UserError(
            "a ScriptModule cannot be analysed because it does not support hooks: load the Python network and its state dict"
        )
    network.eval().requires_grad_(False)
    return with_plain_weights(network).requires_grad_(False).to(memory_format=torch.channels_last)
