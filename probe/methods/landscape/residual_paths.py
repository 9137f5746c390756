"""Residual networks as collections of paths: their residual sums, the gradient by path length, and lesions."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.model.observer import Calls, address_of, function_name

Combine = Callable[[int, Tensor, Tensor], Tensor]
"""combine(block, branch, skip) -> the tensor with which the network goes on instead of their sum."""

_NOT_IN_PLACE = ("__add__", "__radd__")
_WEIGHTED = ("conv1d", "conv2d", "conv3d", "linear", "conv_transpose2d", "addmm", "matmul")


@dataclass(frozen=True)
class ResidualSum:
    """A sum of a residual branch and a skip connection.

    address: of the layer or function that adds. owner: the module that computes the block, empty where it is the
    network. branch: which operand (0 or 1) comes from the residual branch, the one behind more weights.
    """

    address: str
    owner: str
    branch: int


class _Sums(Calls):
    """Calls back at every sum of two tensors of one shape."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.sums = 0

    def begin(self) -> None:
        self.sums = 0

    def reached(self, address: str, kind: nn.Module | str, output: Tensor) -> Tensor | None:
        return None

    def wants(self, address: str) -> bool:
        return False

    def summed(self, address: str, owner: str, operands: Sequence[Tensor], output: Tensor) -> Tensor | None:
        """Two operands were added. Returns what replaces their sum, if anything."""

    def called(self, function: Any, arguments: Sequence[Any], output: Any) -> None:
        """A function was called in the network."""

    def copied(self, tensor: Tensor, copy: Tensor) -> None:
        """`copy` has the values of `tensor` from now on."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if not self.names:
            return func(*args, **kwargs)
        owner, leaf = self.names[-1]
        operands = [a for a in (*args, *kwargs.values()) if isinstance(a, Tensor)]
        is_sum = (
            function_name(func, operands) == "add"
            and len(operands) == 2
            and operands[0].shape == operands[1].shape
            and kwargs.get("alpha", 1) == 1
        )
        if not is_sum:
            output = func(*args, **kwargs)
            self.called(func, args, output)
            return output
        name = getattr(func, "__name__", "")
        in_place = name.endswith("_") and name not in _NOT_IN_PLACE
        if in_place:  # the operand is overwritten below, so that the branch has to be another tensor
            self.copied(operands[0], copy := operands[0].clone())
            operands[0] = copy
        output = torch.add(*operands)
        self.counts[owner, "add"] += 1
        address = owner if leaf else address_of(owner, "add", self.counts[owner, "add"])
        replaced = self.summed(address, owner.rpartition(".")[0] if leaf else owner, operands, output)
        self.called(func, operands, output)
        result = output if replaced is None else replaced
        if in_place:
            result = args[0].copy_(result)
            self.copied(output, result)
        return result


class _Discovery(_Sums):
    """Tracks for each tensor how many weighted layers and which residual sum it comes from."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__(network)
        self.residual: list[ResidualSum] = []
        self.positions: list[int] = []
        self.chained = True
        self._from: dict[int, tuple[int, int]] = {}
        self._alive: list[Tensor] = []  # so that no id is used twice

    def origin(self, tensor: Tensor) -> tuple[int, int]:
        return self._from.get(id(tensor), (0, -1))

    def summed(self, address: str, owner: str, operands: Sequence[Tensor], output: Tensor) -> Tensor | None:
        (a, latest), (b, other) = (self.origin(operand) for operand in operands)
        if a != b:
            self.chained &= latest == other == len(self.residual) - 1
            self.positions.append(self.sums)
            self.residual.append(ResidualSum(address, owner, 0 if a > b else 1))
            self._set(output, (max(a, b), len(self.residual) - 1))
        self.sums += 1
        return None

    def called(self, function: Any, arguments: Sequence[Any], output: Any) -> None:
        if not isinstance(output, Tensor) or id(output) in self._from:
            return
        origins = [self.origin(a) for a in _tensors(arguments)] or [(0, -1)]
        weighted = getattr(function, "__name__", "") in _WEIGHTED
        self._set(output, (max(o[0] for o in origins) + weighted, max(o[1] for o in origins)))

    def copied(self, tensor: Tensor, copy: Tensor) -> None:
        self._set(copy, self.origin(tensor))

    def _set(self, tensor: Tensor, origin: tuple[int, int]) -> None:
        self._from[id(tensor)] = origin
        self._alive.append(tensor)


class _Combining(_Sums):
    def __init__(self, network: nn.Module, paths: "ResidualPaths", combine: Combine) -> None:
        super().__init__(network)
        self.combine, self.blocks = combine, {p: i for i, p in enumerate(paths.positions)}
        self.sums_of = paths.sums

    def summed(self, address: str, owner: str, operands: Sequence[Tensor], output: Tensor) -> Tensor | None:
        block = self.blocks.get(self.sums)
        self.sums += 1
        if block is None:
            return None
        branch = self.sums_of[block].branch
        return self.combine(block, operands[branch], operands[1 - branch])


@dataclass(frozen=True)
class ResidualPaths:
    """The residual sums of a network in order. positions: of each among all sums of two tensors of one shape."""

    network: nn.Module
    sums: tuple[ResidualSum, ...]
    positions: tuple[int, ...]

    @classmethod
    def of(cls, network: nn.Module, inputs: Tensor) -> "ResidualPaths":
        """Found in a forward pass of `inputs`, by modules and functions alike.

        Raises UserError for a network without residual sums, and where they do not follow one another, so that a path is
        not a choice of branch or skip at each.
        """
        discovery = _Discovery(network)
        with torch.no_grad(), discovery.watching((), functions=True):
            network(inputs)
        if not discovery.residual:
            raise UserError(
                "the network has no residual blocks: it adds no two tensors that lie behind different numbers of "
                "weighted layers"
            )
        if not discovery.chained:
            raise UserError(
                "the residual sums of this network do not follow one another, so its paths cannot be grouped by length"
            )
        return cls(network, tuple(discovery.residual), tuple(discovery.positions))

    def __len__(self) -> int:
        return len(self.sums)

    @contextmanager
    def combining(self, combine: Combine) -> Iterator[None]:
        """Forward passes of the network inside go on with what `combine` returns instead of each residual sum."""
        with _Combining(self.network, self, combine).watching((), functions=True):
            yield

    @contextmanager
    def without(self, blocks: Iterable[int]) -> Iterator[None]:
        """Forward passes without the residual branches of `blocks`; their skip connections stay."""
        deleted = frozenset(blocks)
        with self.combining(lambda block, branch, skip: skip if block in deleted else branch + skip):
            yield


Scores = Callable[[Any, Tensor], Tensor]
"""scores(output of the network, labels) -> (n,), whose gradients are taken."""


def path_gradient(
    paths: ResidualPaths, inputs: Tensor, labels: Tensor, scores: Scores, branches: Iterable[int]
) -> Tensor:
    """The gradient with respect to the inputs along one path, the same shape as `inputs`.

    branches: the blocks whose residual branch it passes; in all others it passes the skip connection. The forward pass is
    that of the whole network. Veit et al. 2016, section 6.
    """
    chosen = frozenset(branches)

    def combine(block: int, branch: Tensor, skip: Tensor) -> Tensor:
        return branch + skip.detach() if block in chosen else branch.detach() + skip

    leaf = inputs.detach().clone().requires_grad_(True)
    with torch.enable_grad(), paths.combining(combine):
        total = scores(paths.network(leaf), labels).sum()
    (gradient,) = torch.autograd.grad(total, [leaf], allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient.detach()


def gradients_by_length(paths: ResidualPaths, inputs: Tensor, labels: Tensor, scores: Scores) -> Tensor:
    """The sum of the gradients along all paths of each length, exactly: (blocks + 1, *inputs.shape).

    From the last block to the first, G_k <- J_skip' G_k + J_branch' G_(k-1), with the mask of the ReLU after the sum in
    both; the sum over all lengths is the gradient of the network. About blocks / 2 backward passes.
    """
    leaf = inputs.detach().clone().requires_grad_(True)
    branches: list[Tensor] = []
    skips: list[Tensor] = []
    sums: list[Tensor] = []

    def combine(block: int, branch: Tensor, skip: Tensor) -> Tensor:
        branches.append(branch)
        skips.append(skip)
        sums.append(branch + skip)
        return sums[-1]

    with torch.enable_grad(), paths.combining(combine):
        total = scores(paths.network(leaf), labels).sum()
    (last,) = torch.autograd.grad(total, [sums[-1]], retain_graph=True)
    by_length: list[Tensor] = [last]
    for block in reversed(range(len(sums))):
        source = leaf if block == 0 else sums[block - 1]
        below: list[Tensor] = []
        for length in range(len(by_length) + 1):
            outputs, cotangents = [], []
            if length < len(by_length):
                outputs.append(skips[block])
                cotangents.append(by_length[length])
            if length > 0:
                outputs.append(branches[block])
                cotangents.append(by_length[length - 1])
            used = [(o, c) for o, c in zip(outputs, cotangents, strict=True) if o.requires_grad]
            (gradient,) = torch.autograd.grad(
                [o for o, _ in used], [source], [c for _, c in used], retain_graph=True, allow_unused=True
            )
            below.append(torch.zeros_like(source) if gradient is None else gradient)
        by_length = below
    return torch.stack([g.detach() for g in by_length])


def path_counts(blocks: int) -> np.ndarray:
    """The number of paths of each length 0 to `blocks`, in float64: binomial coefficients, which sum to 2^blocks.

    >>> path_counts(3).tolist()
    [1.0, 3.0, 3.0, 1.0]
    """
    counts = [1.0]
    for k in range(blocks):
        counts.append(counts[-1] * (blocks - k) / (k + 1))
    return np.array(counts)


def _tensors(values: Sequence[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
