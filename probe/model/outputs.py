"""The logits in what a network returns: a tensor, or a tuple, mapping or dataclass that holds them."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch import Tensor

from probe.errors import UserError

_DEEPEST = 4

TWO_LOGITS = "return two logits, torch.cat([torch.zeros_like(z), z], 1) for the logit z before the sigmoid"
"""What a binary classifier with one output should do."""


def single_output_warning(owner: str, classes: int) -> str:
    """What to know about the predictions of a model with one class; empty for more."""
    if classes != 1:
        return ""
    return (
        f"{owner} has one output, so that its softmax confidence is 100% for every image. If it is a binary classifier, let its "
        f"network {TWO_LOGITS}."
    )


def find_logits(output: Any, classes: int, owner: str) -> Tensor:
    """The tensor of shape (n, classes) in the `output` of a network; a tensor itself is returned as it is.

    owner: the name of the model. Raises UserError where there is none or more than one, and for sparse or complex ones.
    """
    if isinstance(output, Tensor):
        if output.layout is not torch.strided or output.is_complex():
            kind = "complex" if output.is_complex() else str(output.layout).removeprefix("torch.")
            raise UserError(
                f"{owner} returns a {kind} tensor, but logits must be a dense tensor of real numbers"
            )
        return output
    held = {id(tensor): (path, tensor) for path, tensor in _tensors(output)}
    logits = [(path, t) for path, t in held.values() if t.ndim == 2 and t.shape[1] == classes]
    if len(logits) == 1:
        return logits[0][1]
    kind = type(output).__name__
    if logits:
        paths = " and ".join(path for path, _ in logits)
        raise UserError(
            f"{owner} returns a {kind} with {len(logits)} tensors of {classes} numbers per image, {paths}: "
            "wrap it in a module that returns only the logits"
        )
    shapes = ", ".join(f"{path} {tuple(tensor.shape)}" for path, tensor in list(held.values())[:4])
    raise UserError(
        f"{owner} returns a {kind} without logits (a tensor of shape (n, {classes}))"
        + (f": it contains {shapes}" if shapes else "")
    )


def _tensors(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in nested containers with where it is, such as `[0]` or `.logits`."""
    if isinstance(value, Tensor):
        yield path, value
        return
    if depth == _DEEPEST:
        return
    if is_dataclass(value) and not isinstance(value, type):
        items = [(f".{field.name}", getattr(value, field.name, None)) for field in fields(value)]
    elif isinstance(value, Mapping):
        items = [(f"[{key!r}]", item) for key, item in value.items()]
    elif isinstance(value, tuple | list):
        items = [(f"[{index}]", item) for index, item in enumerate(value)]
    else:
        return
    for step, item in items:
        yield from _tensors(item, path + step, depth + 1)
