"""The Hessian of the loss with respect to the weights, as an operator: Hessian-vector products without the matrix."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.methods.landscape.directions import Direction
from probe.methods.landscape.loss_surface import Loss, cross_entropy


class Hessian:
    """The Hessian of the mean loss over images, at the present weights of a copy of a network.

    `hessian @ v` for flat vectors v (n,) of all parameters, one after the other; `shape`, `dtype` and `matvec` are those
    of SciPy's LinearOperator, `to_scipy` makes one. Batch norm uses its running statistics.
    Pearlmutter 1994, Fast exact multiplication by the Hessian.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Sequence[Tensor],
        labels: Sequence[Tensor],
        *,
        logits: Callable[[Any], Tensor] = lambda output: output,
        loss: Loss = cross_entropy,
    ) -> None:
        """inputs, labels: batches; a product takes two forward and backward passes over all of them."""
        self.network = copy.deepcopy(network)
        named = [(name, p) for name, p in self.network.named_parameters() if p.is_floating_point()]
        for _, parameter in named:
            parameter.requires_grad_(True)
        self.names, self.parameters = [name for name, _ in named], [p for _, p in named]
        self.inputs, self.labels, self.loss, self.logits = inputs, labels, loss, logits
        self.images = sum(len(batch) for batch in labels)

    @property
    def size(self) -> int:
        """Number of weights."""
        return sum(p.numel() for p in self.parameters)

    @property
    def shape(self) -> tuple[int, int]:
        return self.size, self.size

    @property
    def dtype(self) -> torch.dtype:
        return self.parameters[0].dtype

    @property
    def device(self) -> torch.device:
        return self.parameters[0].device

    def matvec(self, vector: Tensor) -> Tensor:
        """The product with a flat vector (n,) on the network's device; UserError where the loss has no second derivative."""
        parts = self._split(vector)
        total = torch.zeros_like(vector)
        for inputs, labels in zip(self.inputs, self.labels, strict=True):
            with torch.enable_grad():
                loss = self.loss(self.logits(self.network(inputs)), labels).sum() / self.images
                try:
                    first = torch.autograd.grad(loss, self.parameters, create_graph=True, allow_unused=True)
                    used = [
                        (g, v) for g, v in zip(first, parts, strict=True) if g is not None and g.requires_grad
                    ]
                    second = torch.autograd.grad(
                        [g for g, _ in used], self.parameters, [v for _, v in used], allow_unused=True
                    )
                except RuntimeError as error:
                    reason = str(error).split("\n")[0]
                    raise UserError(f"the loss of this network has no second derivative ({reason})") from None
            total += torch.cat(
                [
                    (torch.zeros_like(p) if h is None else h).reshape(-1)
                    for h, p in zip(second, self.parameters, strict=True)
                ]
            )
        return total

    __matmul__ = matvec

    def gradient(self) -> Tensor:
        """The gradient of the mean loss, (n,)."""
        total = torch.zeros(self.size, dtype=self.dtype, device=self.device)
        for inputs, labels in zip(self.inputs, self.labels, strict=True):
            with torch.enable_grad():
                loss = self.loss(self.logits(self.network(inputs)), labels).sum() / self.images
                grads = torch.autograd.grad(loss, self.parameters, allow_unused=True)
            total += torch.cat(
                [
                    (torch.zeros_like(p) if g is None else g).reshape(-1)
                    for g, p in zip(grads, self.parameters, strict=True)
                ]
            )
        return total

    def direction(self, vector: Tensor) -> Direction:
        """A flat vector as a direction, with a tensor for each parameter."""
        return dict(zip(self.names, self._split(vector), strict=True))

    def to_scipy(self) -> Any:
        """A `scipy.sparse.linalg.LinearOperator` in float64 that multiplies on the network's device."""
        import numpy as np
        from scipy.sparse.linalg import LinearOperator

        def matvec(vector: Any) -> Any:
            flat = torch.from_numpy(np.asarray(vector).reshape(-1)).to(self.device, self.dtype)
            return self.matvec(flat).double().cpu().numpy()

        make: Any = LinearOperator  # whose stubs know the base class alone
        return make(self.shape, matvec=matvec, rmatvec=matvec, dtype=np.float64)

    def _split(self, vector: Tensor) -> list[Tensor]:
        parts = vector.split([p.numel() for p in self.parameters])
        return [part.view(p.shape) for part, p in zip(parts, self.parameters, strict=True)]
