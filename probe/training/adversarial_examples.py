"""How is a batch made harder while a network is trained on it?"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from probe.device import to_device
from probe.methods.adversarial.criteria import Criterion
from probe.methods.adversarial.norms import project_to_ball

Adversary = Literal["fgsm", "pgd"]

WARM_UP = 0.25  # of the training: a fresh network that meets the full eps learns to answer one class for ever


def eps_warmup(eps: float, share: float) -> float:
    """The radius when `share` of the training is done: it grows from 0 to `eps` over the first quarter."""
    return eps * min(1.0, share / WARM_UP)


def adversarial_batch(
    network: nn.Module,
    logits: Callable[[Tensor], Tensor],
    pixels: Tensor,
    labels: Tensor,
    *,
    eps: float,
    kind: Adversary = "pgd",
    steps: int = 10,
    rng: torch.Generator,
) -> Tensor:
    """Images of the batch moved against the network as it stands, for the next step of its training.

    network: in whatever mode it is trained; its modes, buffers (batch norm's statistics) and gradients are as
    before. logits: pixels (n, c, h, w) in [0, 1] -> (n, classes) through that network. kind: "fgsm" is one step of
    1.25 eps from a random start in the Linf ball, "pgd" `steps` steps of 2.5 eps / steps. rng: on the CPU.
    Returns (n, c, h, w) in [0, 1], no pixel further than `eps` from its original; eps 0 gives the pixels themselves.

    Madry et al. 2018, section 2.1; Wong et al. 2020, algorithm 3.
    """
    if eps == 0:
        return pixels
    count, stride = (1, 1.25 * eps) if kind == "fgsm" else (steps, 2.5 * eps / steps)
    aim = Criterion(labels)
    start = to_device(torch.rand(pixels.shape, generator=rng) * 2 - 1, pixels.device).to(pixels.dtype)
    at = project_to_ball(pixels, pixels + eps * start, eps, "linf")
    with buffers_kept(network):
        for _ in range(count):
            with torch.enable_grad():
                leaf = at.detach().requires_grad_(True)
                # The sign is that of the cross-entropy's gradient, which float32 may have lost.
                (slope,) = torch.autograd.grad(aim.loss(logits(leaf)).sum(), leaf)
            at = project_to_ball(pixels, at + stride * slope.nan_to_num().sign(), eps, "linf")
    return at


@contextmanager
def buffers_kept(network: nn.Module) -> Iterator[None]:
    """Give every buffer its values back at the end: passes in training mode move batch norm's statistics."""
    kept = [(buffer, buffer.clone()) for buffer in network.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, values in kept:
                buffer.copy_(values)


def collapsed(one_step: float, many_steps: float) -> bool:
    """Whether a network stands one step but not many: training on single steps has overfitted to them.

    one_step, many_steps: accuracies under FGSM and PGD at the same radius. "Catastrophic overfitting": Wong et al.
    2020, section 4.3; there the second falls from above 40 % to 0 % within an epoch.
    """
    return many_steps < one_step / 2 and one_step - many_steps > 0.1
