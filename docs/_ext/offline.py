"""Built pages load nothing from another site: neither scripts, styles, fonts nor pictures."""

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

_LOADED = re.compile(
    r"""<(?:script|link|img|source|iframe|video)\b[^>]*\s(?:src|href|srcset)\s*=\s*["']?((?:https?:)?//[^"'\s>]+)"""
    r"""|(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""",
    re.IGNORECASE,
)


def loaded_addresses(text: str) -> list[str]:
    """The addresses on other sites from which a page or style sheet loads something; links to follow are none.

    >>> loaded_addresses('<script src="https://cdn.org/a.js"></script> <a href="https://arxiv.org">paper</a>')
    ['https://cdn.org/a.js']
    """
    return [first or second for first, second in _LOADED.findall(text)]


def _check(app: Sphinx, error: Exception | None) -> None:
    if error is not None or app.builder.format != "html":
        return
    files = [path for suffix in ("html", "css") for path in Path(app.outdir).rglob(f"*.{suffix}")]
    loads = {
        path.relative_to(app.outdir).as_posix(): addresses
        for path in files
        if (addresses := loaded_addresses(path.read_text(encoding="utf-8")))
    }
    if loads:
        raise ExtensionError("\n".join(f"{page} loads {', '.join(what)}" for page, what in loads.items()))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("build-finished", _check)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
