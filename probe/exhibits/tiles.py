"""Tensors as images of an exhibit: conversion, crops set in frames of one size, contact sheets."""

import numpy as np
from torch import Tensor


def to_image(pixels: Tensor) -> np.ndarray:
    """(c, h, w) of about [0, 1] on any device -> (h, w, c) float32, clipped to [0, 1]."""
    return pixels.clamp(0, 1).permute(1, 2, 0).cpu().float().numpy()


def to_images(pixels: Tensor) -> list[np.ndarray]:
    """A batch (n, c, h, w) as the images of an exhibit."""
    return [to_image(image) for image in pixels]
