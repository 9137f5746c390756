"""The state of a network that a forward pass may change although the network is in evaluation mode."""

from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import nn

_PRESERVED: Counter[int] = Counter()  # networks, by id, whose state will be restored


def preserved_once(network: nn.Module) -> AbstractContextManager[None]:
    """`preserved_state` of `network`, unless a block around this one restores it anyway: a copy of the buffers costs time."""
    return nullcontext() if _PRESERVED[id(network)] else preserved_state(network)


@contextmanager
def preserved_state(*networks: nn.Module) -> Iterator[None]:
    """Restore buffers and modes of `networks` after the block, after an exception too.

    A batch norm that ignores `eval()` updates its statistics in every forward pass.
    """
    modules = [module for network in networks for module in network.modules()]
    modes = [(module, module.training) for module in modules]
    with torch.inference_mode():
        buffers = [
            (module, name, buffer, buffer.clone())
            for module in modules
            for name, buffer in module.named_buffers(recurse=False)
        ]
    _PRESERVED.update(map(id, networks))
    try:
        yield
    finally:
        _PRESERVED.subtract(map(id, networks))
        for module, mode in modes:
            if module.training != mode:
                module.training = mode
        with torch.inference_mode():
            for module, name, buffer, value in buffers:
                if getattr(module, name) is not buffer:
                    module._buffers[name] = buffer
                if not torch.equal(buffer, value):
                    buffer.copy_(value)
