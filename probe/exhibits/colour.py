"""Map numbers to colours: scalar maps by a Scale, and heat maps over images. Uses NumPy alone."""

import numpy as np

from probe.exhibits.exhibits import Array, Scale


def _stops(text: str) -> Array:
    """Equally spaced colour stops from hexadecimal: (stops, 3) in [0, 1]."""
    return np.array([[int(stop[i : i + 2], 16) / 255 for i in (0, 2, 4)] for stop in text.split()])


STOPS = {
    "grey": _stops("000000 ffffff"),
    # Viridis (Smith and van der Walt 2015, CC0): perceptually uniform, also with colour blindness.
    "sequential": _stops(
        "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c "
        "1fa088 28ae80 3fbc73 5ec962 84d44b addc30 d8e219 fde725"
    ),
    # Red for positive, blue for negative, near-white for zero (after ColorBrewer's RdBu).
    "diverging": _stops("053061 2065ab 4393c3 90c4dd d1e5f0 f7f7f7 fddbc7 f3a481 d6604d b1182b 67001f"),
}


_STRONG = 0.6  # of the way from zero to full colour, where the colours of an overlay begin


def colour_table(kind: str, size: int = 256) -> Array:
    """The colours of a kind of Scale from low to high: (size, 3) in [0, 1]."""
    stops = STOPS[kind]
    positions = np.linspace(0, 1, size)
    return np.stack(
        [np.interp(positions, np.linspace(0, 1, len(stops)), stops[:, c]) for c in range(3)], axis=1
    )


def colourise(values: Array, scale: Scale) -> Array:
    """Colour a scalar map.

    values: (..., h, w), any range; values outside [low, high] get the colour of the nearer end, NaN a mid-grey that
    only the scale "grey" contains. Returns (..., h, w, 3) float32 in [0, 1]. Raises ValueError if the scale is empty
    or not finite.
    """
    if not (np.isfinite(scale.low) and np.isfinite(scale.high) and scale.low < scale.high):
        raise ValueError(f"a scale must increase between finite limits, got {scale.low:g} to {scale.high:g}")
    stops = STOPS[scale.kind]
    values = np.asarray(values, dtype=np.float64)
    missing = np.isnan(values)
    position = (np.where(missing, scale.low, values) - scale.low) / (scale.high - scale.low)
    position = np.clip(position, 0, 1) * (len(stops) - 1)
    left = np.minimum(position.astype(np.int64), len(stops) - 2)
    weight = (position - left)[..., None]
    colours = stops[left] * (1 - weight) + stops[left + 1] * weight
    colours[missing] = 0.6
    return colours.astype(np.float32)


def overlay(image: Array, values: Array, scale: Scale, *, alpha: float = 0.6) -> Array:
    """Overlay a heat map on the grey version of an image, so that all colour belongs to the map.

    image: (h, w, 3) or (h, w, 1) in [0, 1]. values: (h, w). alpha: weight of the map, in [0, 1]. The opacity of a
    sequential map grows with its values, that of a diverging one, which has strong colours alone, with their distance
    from zero: its pale middle would be a fog. Returns (h, w, 3)
    float32 in [0, 1]. Raises ValueError if the two differ in size or alpha is outside [0, 1].
    """
    image, values = np.asarray(image, dtype=np.float32), np.asarray(values, dtype=np.float32)
    if image.shape[:2] != values.shape:
        raise ValueError(f"image is {image.shape[:2]}, map is {values.shape}: resize the map first")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in [0, 1], got {alpha:g}")
    weights = np.array([0.299, 0.587, 0.114], dtype=np.float32)
    grey = image @ weights if image.shape[2] == 3 else image[..., 0]
    if scale.kind == "diverging":
        limit = max(abs(scale.low), abs(scale.high))
        strength = np.clip(np.nan_to_num(np.abs(values) / limit), 0, 1)
        heat = colourise(np.sign(values) * limit * (_STRONG + (1 - _STRONG) * strength), scale)
    else:
        strength = np.sqrt(np.clip(np.nan_to_num((values - scale.low) / (scale.high - scale.low)), 0, 1))
        heat = colourise(values, scale)
    opacity = alpha * strength[..., None]
    return ((1 - opacity) * grey[..., None] + opacity * heat).astype(np.float32)
