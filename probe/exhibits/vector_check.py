"""Check that a stored vector figure is one that matplotlib drew, since its markup becomes part of a page."""

import re
from xml.parsers.expat import ExpatError, ParserCreate

from probe.exhibits.vector import ROOT

_COMMENT = re.compile(rb"<!--[^<>]*-->")
_TAGS = frozenset(["svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "style", "metadata"])
_DESCRIPTION = ("rdf:", "dc:", "cc:")  # tags inside of <metadata>
_ATTRIBUTES = """
id d style x y width height transform viewBox version type clip-path clip-rule fill stroke stroke-width fill-opacity
stroke-opacity opacity rx ry preserveAspectRatio
"""
_ALLOWED = frozenset(_ATTRIBUTES.split())
_HARMLESS_STYLE = re.compile(r"(?:[^()\\@]|url\(#\w+\)|(?:rotate|scale|translate|matrix|rgba?)\([^()]*\))*")


def is_drawn_by_matplotlib(svg: bytes) -> bool:
    """Whether a file contains only what matplotlib writes into a figure: no script, no link, no foreign text."""
    comments = svg.count(b"<!--")
    if svg.count(b"<?") != 1 or b"<![" in svg or b"<!ENTITY" in svg or comments != len(_COMMENT.findall(svg)):
        return False
    harmless = ROOT.search(svg.decode("utf-8", "replace")) is not None
    omitted: list[str] = []  # elements that `inline_svg` leaves out

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal harmless
        if omitted == ["metadata"] and tag.startswith(_DESCRIPTION):
            return
        harmless &= tag in _TAGS and not omitted
        if tag in ("metadata", "style"):
            omitted.append(tag)
        for name, value in attributes.items():
            if name == "xlink:href":
                harmless &= value.startswith(("#", "data:image/png;base64,"))
            elif not name.startswith("xmlns"):
                harmless &= name in _ALLOWED and _HARMLESS_STYLE.fullmatch(value) is not None

    def end(tag: str) -> None:
        if omitted and tag == omitted[-1]:
            omitted.pop()

    parser = ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = start, end
    try:
        parser.Parse(svg, True)
    except ExpatError:
        return False
    return harmless
