"""How do values reach a device without a wait for what it still has to do?"""

import torch
from torch import Tensor


def sent(values: Tensor, device: torch.device) -> Tensor:
    """`values` on `device`.

    A plain copy to a CUDA device first waits for all its queued work, and then the device waits for what comes next.
    From page-locked memory the copy takes its turn in the queue.
    """
    if device.type != "cuda" or values.is_cuda:
        return values.to(device)
    return values.contiguous().pin_memory().to(device, non_blocking=True)
