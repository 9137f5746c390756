"""Orientation and spatial-frequency tuning, measured with gratings."""

from collections.abc import Callable
from dataclasses import dataclass
from math import pi

import torch
from torch import Tensor

_CONTRAST = 0.5  # amplitude in pixel units: gratings run from 0 to 1
_PHASES = 4


@dataclass(frozen=True)
class Tuning:
    """How strongly the channels of a layer respond to gratings.

    frequencies: (f,) cycles per pixel. orientations: (o,) degrees in [0, 180): the direction of the bars,
    anticlockwise, 0 horizontal. response: (channels, f, o) amplitude of the response per amplitude of the grating.
    """

    frequencies: Tensor
    orientations: Tensor
    response: Tensor

    @property
    def preferred_indices(self) -> tuple[Tensor, Tensor]:
        """Indices of the frequency and of the orientation with the largest response: (channels,) each."""
        flat = self.response.flatten(1).argmax(1)
        return flat // len(self.orientations), flat % len(self.orientations)

    @property
    def preferred_frequency(self) -> Tensor:
        """(channels,) the frequency with the largest response, in cycles per pixel."""
        return self.frequencies[self.preferred_indices[0]]

    @property
    def orientation_curves(self) -> Tensor:
        """(channels, o) at the preferred frequency."""
        channel = torch.arange(len(self.response))
        return self.response[channel, self.preferred_indices[0]]

    @property
    def frequency_curves(self) -> Tensor:
        """(channels, f) at the preferred orientation."""
        channel = torch.arange(len(self.response))
        return self.response[channel, :, self.preferred_indices[1]]

    @property
    def preferred_orientation(self) -> Tensor:
        """(channels,) degrees in [0, 180): the mean direction of the responses at the preferred frequency.

        It is that of the peak where there is one (`single_peak`), and between the peaks where there are several.
        """
        return (self._resultant.angle() * 90 / pi) % 180

    @property
    def selectivity(self) -> Tensor:
        """One minus the circular variance of the orientation curve: 0 flat, 1 a single peak. Ringach et al. 2002."""
        return self._resultant.abs() / self.orientation_curves.sum(1).clamp(min=1e-12)

    @property
    def half_width(self) -> Tensor:
        """Half width at half height of the orientation curve in degrees; nan where it never falls to half."""
        step = 180 / len(self.orientations)
        widths = [_half_width(curve.tolist(), closed=True) for curve in self.orientation_curves]
        return torch.tensor(widths) * step

    @property
    def peaks(self) -> Tensor:
        """(channels,) how many peaks the orientation curve has: ranges above three quarters, or half, of its maximum.

        The larger of the two numbers; 0 for a curve that never falls to three quarters.
        """
        return torch.stack([self._ranges_above(0.5), self._ranges_above(0.75)]).amax(0)

    @property
    def single_peak(self) -> Tensor:
        """(channels,) bool: whether the orientation curve has one peak and falls to half of its maximum."""
        return (self.peaks == 1) & (self._ranges_above(0.5) == 1)

    def _ranges_above(self, level: float) -> Tensor:
        above = self.orientation_curves > level * self.orientation_curves.amax(1, keepdim=True)
        return (above & ~above.roll(1, 1)).sum(1)

    @property
    def bandwidth(self) -> Tensor:
        """Full width at half height of the frequency curve in octaves; nan where it does not fall to half on both sides."""
        step = float((self.frequencies[-1] / self.frequencies[0]).log2()) / max(1, len(self.frequencies) - 1)
        widths = [2 * _half_width(curve.tolist(), closed=False) for curve in self.frequency_curves]
        return torch.tensor(widths) * step

    @property
    def _resultant(self) -> Tensor:
        angle = torch.polar(torch.ones_like(self.orientations), self.orientations * pi / 90)
        return (self.orientation_curves * angle).sum(1)


def grating(shape: tuple[int, int, int], frequency: float, orientation: float, phase: float) -> Tensor:
    """A sine grating (c, h, w) in [0, 1], all channels alike, its phase relative to the centre of the image.

    frequency: cycles per pixel. orientation: of the bars in degrees, anticlockwise, 0 horizontal. phase: radians.
    """
    _, height, width = shape
    y = torch.arange(height)[:, None] - (height - 1) / 2
    x = torch.arange(width) - (width - 1) / 2
    angle = torch.tensor(orientation * pi / 180)
    wave = torch.cos(2 * pi * frequency * (x * angle.sin() + y * angle.cos()) + phase)
    return (0.5 + _CONTRAST * wave).expand(shape)


def measure_tuning(
    respond: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    *,
    frequencies: Tensor,
    orientations: int = 18,
    device: torch.device | str = "cpu",
) -> Tuning:
    """Responses of the unit in the centre of each map to gratings of each frequency and orientation.

    respond: (n, c, h, w) pixels -> (n, channels, h', w') maps. The response is the first harmonic over four phases of
    a grating, so a constant activation is none. shape: (c, h, w) of the gratings. frequencies: (f,) cycles per pixel,
    increasing by equal factors. orientations: number, evenly spaced over 180 degrees.
    """
    angles = torch.arange(orientations) * 180 / orientations
    phases = torch.arange(_PHASES) * 2 * pi / _PHASES
    harmonic = torch.polar(torch.ones(_PHASES), -phases)
    response = []
    for frequency in frequencies.tolist():
        row = []
        for angle in angles.tolist():
            gratings = torch.stack([grating(shape, frequency, angle, phase) for phase in phases.tolist()])
            with torch.inference_mode():
                maps = respond(gratings.to(device))
            centre = maps[:, :, maps.shape[2] // 2, maps.shape[3] // 2].cpu()
            row.append(2 / _PHASES * (centre * harmonic[:, None]).sum(0).abs() / _CONTRAST)
        response.append(torch.stack(row, 1))
    return Tuning(frequencies, angles, torch.stack(response, 1).clone())


def _half_width(curve: list[float], *, closed: bool) -> float:
    """Mean distance, in steps, from the peak of a curve to where it falls to half on either side; nan if it does not."""
    n, peak = len(curve), max(range(len(curve)), key=curve.__getitem__)
    half, distances = curve[peak] / 2, []
    for direction in (1, -1):
        before = curve[peak]
        for step in range(1, n):
            index = peak + direction * step
            if not closed and not 0 <= index < n:
                break
            value = curve[index % n]
            if value <= half < before:
                distances.append(step - 1 + (before - half) / (before - value))
                break
            before = value
    return sum(distances) / 2 if len(distances) == 2 else float("nan")
