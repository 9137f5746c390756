"""How does a unit answer to gratings? Orientation and spatial-frequency tuning, as a physiologist measures it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

_CONTRAST = 0.5  # amplitude in pixel units: gratings run from 0 to 1
_PHASES = 4


@dataclass(frozen=True)
class Tuning:
    """How strongly each channel follows gratings.

    frequencies: (f,) cycles per pixel. orientations: (o,) degrees in [0, 180): the direction of the bars,
    anticlockwise, 0 lying. response: (channels, f, o) amplitude of the answer per amplitude of the grating.
    """

    frequencies: Tensor
    orientations: Tensor
    response: Tensor

    @property
    def best(self) -> tuple[Tensor, Tensor]:
        """Index of the frequency and of the orientation with the strongest answer: (channels,) each."""
        flat = self.response.flatten(1).argmax(1)
        return flat // len(self.orientations), flat % len(self.orientations)

    @property
    def by_orientation(self) -> Tensor:
        """(channels, o) at the best frequency."""
        channel = torch.arange(len(self.response))
        return self.response[channel, self.best[0]]

    @property
    def by_frequency(self) -> Tensor:
        """(channels, f) at the best orientation."""
        channel = torch.arange(len(self.response))
        return self.response[channel, :, self.best[1]]

    @property
    def preferred(self) -> Tensor:
        """Preferred orientation in degrees, [0, 180): the mean direction of the answers at the best frequency."""
        return (self._resultant.angle() * 90 / pi) % 180

    @property
    def selectivity(self) -> Tensor:
        """One minus the circular variance of the orientation curve: 0 flat, 1 a single peak. Ringach et al. 2002."""
        return self._resultant.abs() / self.by_orientation.sum(1).clamp(min=1e-12)

    @property
    def half_width(self) -> Tensor:
        """Half width at half height of the orientation curve in degrees; nan where it never falls to half."""
        step = 180 / len(self.orientations)
        return (
            torch.tensor([_half_width(curve.tolist(), closed=True) for curve in self.by_orientation]) * step
        )

    @property
    def octaves(self) -> Tensor:
        """Full width at half height of the frequency curve in octaves; nan where it does not fall to half on both sides."""
        step = float((self.frequencies[-1] / self.frequencies[0]).log2()) / max(1, len(self.frequencies) - 1)
        return torch.tensor([2 * _half_width(c.tolist(), closed=False) for c in self.by_frequency]) * step

    @property
    def _resultant(self) -> Tensor:
        angle = torch.polar(torch.ones_like(self.orientations), self.orientations * pi / 90)
        return (self.by_orientation * angle).sum(1)


def grating(shape: tuple[int, int, int], frequency: float, orientation: float, phase: float) -> Tensor:
    """A sine grating (c, h, w) in [0, 1], all channels alike, its phase counted from the centre of the image.

    frequency: cycles per pixel. orientation: of the bars in degrees, anticlockwise, 0 lying. phase: radians.
    """
    _, height, width = shape
    y = torch.arange(height)[:, None] - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    angle = torch.tensor(orientation * pi / 180)
    wave = torch.cos(2 * pi * frequency * (x * angle.sin() + y * angle.cos()) + phase)
    return (0.5 + _CONTRAST * wave).expand(shape)


def tuning(
    respond: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    *,
    frequencies: Tensor,
    orientations: int = 18,
    device: torch.device | str = "cpu",
) -> Tuning:
    """Show gratings of every frequency and orientation in four phases and measure the unit in the middle of each map.

    respond: (n, c, h, w) pixels -> (n, channels, h', w') maps. The answer that counts is the one that follows the
    phase (the first harmonic), so a constant answer is none. frequencies: cycles per pixel, rising by equal factors.
    """
    angles = torch.arange(orientations) * 180 / orientations
    phases = torch.arange(_PHASES) * 2 * pi / _PHASES
    turn = torch.polar(torch.ones(_PHASES), -phases)
    response = []
    for frequency in frequencies.tolist():
        row = []
        for angle in angles.tolist():
            shown = torch.stack([grating(shape, frequency, angle, p) for p in phases.tolist()])
            with torch.inference_mode():
                maps = respond(shown.to(device))
            middle = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].cpu()
            row.append(2 / _PHASES * (middle * turn[:, None]).sum(0).abs() / _CONTRAST)
        response.append(torch.stack(row, 1))
    return Tuning(frequencies, angles, torch.stack(response, 1).clone())


def _half_width(curve: list[float], *, closed: bool) -> float:
    """Mean distance, in steps, from the peak of a curve to where it falls to half on either side; nan if it does not."""
    n, peak = len(curve), max(range(len(curve)), key=curve.__getitem__)
    half, ways = curve[peak] / 2, []
    for direction in (1, -1):
        before = curve[peak]
        for step in range(1, n):
            at = peak + direction * step
            if not closed and not 0 <= at < n:
                break
            here = curve[at % n]
            if here <= half < before:
                ways.append(step - 1 + (before - half) / (before - here))
                break
            before = here
    return sum(ways) / 2 if len(ways) == 2 else float("nan")
