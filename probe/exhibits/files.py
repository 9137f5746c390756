"""Pictures and animations as files of their own, at their full size."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from probe.atomic_files import replacing
from probe.errors import UserError

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
ANIMATIONS = (".gif", ".webp")


def checked_suffix(path: Path, suffixes: Sequence[str]) -> Path:
    """`path`, if its name ends as one of `suffixes`; a UserError otherwise, before anything is computed."""
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{path}: the name of the file must end in {', '.join(suffixes)}")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{path}: there is no folder {path.parent}")
    return path


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write (h, w, c) in [0, 1] as PNG, JPEG or WebP, by the ending of the name. Raises UserError where it cannot."""
    _save(_image(picture), path, quality=92)


def write_animation(path: Path, frames: Sequence[np.ndarray], *, seconds: float = 0.08) -> None:
    """Write frames (h, w, c) in [0, 1] as GIF or WebP, `seconds` each, that repeats. Raises UserError where it cannot."""
    first, *rest = [_image(frame) for frame in frames]
    _save(first, path, save_all=True, append_images=rest, duration=round(1000 * seconds), loop=0, quality=85)


def _save(image: Image.Image, path: Path, **options: Any) -> None:
    try:
        with replacing(path) as temporary:
            image.save(temporary, **options)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{path} cannot be written: {reason}") from None


def _image(picture: np.ndarray) -> Image.Image:
    levels = (np.clip(picture, 0, 1) * 255).round().astype(np.uint8)
    return Image.fromarray(levels[..., 0] if levels.shape[2] == 1 else levels)
