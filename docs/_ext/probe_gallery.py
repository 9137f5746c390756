"""Pictures, fresh starts and the cache of the examples that the documentation executes."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from PIL import Image
from sphinx.application import Sphinx

from probe.exhibits.exhibits import Exhibit, ImageGrid, Table
from probe.exhibits.result import Result

HOME = Path(__file__).parents[2]
ROOMS = (
    *("inspection", "units", "attribution", "synthesis"),
    *("adversarial", "representation", "landscape", "training", "own"),
)
"""The folders of the gallery, in reading order."""
GALLERIES = {"gallery": "auto_gallery", "stories": "auto_stories"}
"""By the folder with the scripts, the one with the pages that sphinx-gallery makes of them."""

# What determines the output of an example, besides its script and the versions of the packages.
_CODE = (
    "probe/**/*.py",
    "pretrained/*/card.toml",
    "reports/templates/notebook*",
    "docs/_ext/probe_gallery.py",
)
_NOT_EXECUTED = ("probe/cli/",)
_VERSIONS = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "matplotlib", "sphinx-gallery")


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: Mapping[str, Any]) -> str:
    """Store the pictures of the value at the end of a block, from which sphinx-gallery makes the thumbnail.

    The page itself shows the value as a notebook does, by its `_repr_html_`: hence no reST is returned.
    `# sphinx_gallery_thumbnail_number = 2` chooses the second picture of the example.
    """
    value = block_vars["example_globals"].get("___")
    if value is block_vars.get("probe_shown"):
        return ""  # the block ends with a statement: this is the value of an earlier one
    block_vars["probe_shown"] = value
    for picture in pictures(value):
        picture.save(next(block_vars["image_path_iterator"]))
    return ""


def pictures(value: Any) -> Iterator[Image.Image]:
    """The pictures of a result, an exhibit or images, in reading order; tables have none."""
    from probe.data.grid import grid
    from probe.data.images import Images
    from probe.exhibits.static import pixels

    if isinstance(value, Images):
        value = grid(value.take(24).pixels())
    exhibits = value.exhibits if isinstance(value, Result) else [value]
    for exhibit in exhibits:
        if isinstance(exhibit, Exhibit) and not isinstance(exhibit, Table):
            yield _for_thumbnail(pixels(exhibit), whole=not isinstance(exhibit, ImageGrid))


def _for_thumbnail(picture: Image.Image, *, whole: bool) -> Image.Image:
    """On white; of a grid of images that is long or wide its upper left part."""
    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    width, height = ground.size
    if whole or 0.9 * width >= height >= width / 4.2:
        return ground
    return ground.crop((0, 0, min(width, round(1.6 * height)), min(height, round(0.9 * width))))


def before_example(gallery_conf: Mapping[str, Any], name: str) -> None:
    """Start every example from the same state, and without a network."""
    import torch

    torch.manual_seed(0)
    os.environ["HTTP_PROXY"] = os.environ["HTTPS_PROXY"] = "http://127.0.0.1:9"
    tempfile.tempdir = None


def code_digest() -> str:
    """SHA-256 of what the output of an example depends on besides its script."""
    hasher = hashlib.sha256()
    for path in sorted({path for pattern in _CODE for path in HOME.glob(pattern)}):
        name = path.relative_to(HOME).as_posix()
        if not name.startswith(_NOT_EXECUTED):
            hasher.update(f"{name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    for package in _VERSIONS:
        hasher.update(f"{package} {metadata.version(package)}\n".encode())
    return hasher.hexdigest()


def forget_outdated(docs: Path) -> None:
    """Remove the pages of examples that are gone, and have all examples run again if the code has changed.

    sphinx-gallery runs an example whose script differs from the digest that it stored when it last ran (.md5).
    """
    digest = code_digest()
    for source, target in GALLERIES.items():
        generated = docs / target
        scripts = {path.relative_to(docs / source).with_suffix("") for path in (docs / source).rglob("*.py")}
        for page in generated.rglob("*.rst"):
            name = page.relative_to(generated).with_suffix("")
            if page.name not in ("index.rst", "sg_execution_times.rst") and name not in scripts:
                for file in page.parent.glob(f"{page.stem}.*"):
                    file.unlink()
        stored = generated / "code.sha256"
        if not stored.exists() or stored.read_text(encoding="ascii") != digest:
            for file in generated.rglob("*.md5"):
                file.unlink()
            generated.mkdir(exist_ok=True)
            stored.write_text(digest, encoding="ascii")


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", lambda app: forget_outdated(Path(app.srcdir)), priority=100)
    return {"version": code_digest(), "parallel_read_safe": True}
