"""Vector figures inside a page: unique ids, short numbers, and colours that are variables of the page."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from xml.parsers.expat import ExpatError, ParserCreate

from probe.exhibits.palette import variables

_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_STYLE = re.compile(r"<style[^>]*>.*?</style>", re.DOTALL)
_ID = re.compile(r' id="([^"]*)"')
_LINK = re.compile(r'(?:xlink:href|href)="#([^"]+)"|url\(#([^)]+)\)')
_OUTLINE = re.compile(r' d="([^"]*)"')
_DECIMALS = re.compile(r"(-?\d+\.\d{2})\d+")
_POSITION = re.compile(r' (x|y|width|height)="(-?\d+\.\d{2})\d+"')
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_BETWEEN = re.compile(r">\s+<")
_ROOT = re.compile(r"<svg[^>]*?viewBox=\"0 0 ([\d.]+) ([\d.]+)\"[^>]*>")
_PLAIN = re.compile(rb"<!--[^<>]*-->")
_POINTS = 96 / 72  # CSS pixels in a point


_TAGS = frozenset(["svg", "g", "defs", "path", "use", "clipPath", "rect", "image", "style", "metadata"])
_DESCRIPTION = ("rdf:", "dc:", "cc:")  # tags inside of <metadata>
_ATTRIBUTES = frozenset(
    [
        "id",
        "d",
        "style",
        "x",
        "y",
        "width",
        "height",
        "transform",
        "viewBox",
        "version",
        "type",
        "clip-path",
        "clip-rule",
        "fill",
        "stroke",
        "stroke-width",
        "fill-opacity",
        "stroke-opacity",
        "opacity",
        "rx",
        "ry",
        "preserveAspectRatio",
    ]
)
_HARMLESS_STYLE = re.compile(r"(?:[^()\\@]|url\(#\w+\)|(?:rotate|scale|translate|matrix|rgba?)\([^()]*\))*")


@dataclass(frozen=True)
class InlineVector:
    """An element of a page, and its width in CSS pixels."""

    text: str
    width: int


def inline_svg(svg: str, *, prefix: str, title: str, description: str) -> InlineVector:
    """`svg`, as matplotlib writes it, as an element of a page.

    Its ids start with `prefix`, which must be unique in the page. Colours of the light theme become CSS variables
    (`palette.css`), with the light value where the page sets none. title, description: what a screen reader says.
    """
    body = svg[svg.index("<svg") :]
    for pattern in (_COMMENT, _METADATA, _STYLE):
        body = pattern.sub("", body)
    used = {first or second for first, second in _LINK.findall(body)}
    body = _ID.sub(lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", body)
    body = _LINK.sub(
        lambda m: f'href="#{prefix}{m[1]}"' if m[1] is not None else f"url(#{prefix}{m[2]})", body
    )
    body = _OUTLINE.sub(_shortened, body)
    body = _POSITION.sub(r' \1="\2"', body)
    named = variables()
    body = _COLOUR.sub(lambda m: f"var({named[m[0]][0]}, {m[0]})" if m[0] in named else m[0], body)
    match = _ROOT.match(body)
    assert match is not None
    width, height = (float(match[k]) for k in (1, 2))
    label = escape(f"{title}. {description}", quote=True)
    root = (
        f'<svg class="figure" role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width * _POINTS:.0f}" height="{height * _POINTS:.0f}" '
        'style="stroke-linejoin: round; stroke-linecap: butt">'
    )
    return InlineVector(root + _BETWEEN.sub("><", body[match.end() :]).strip(), round(width * _POINTS))


def is_drawn_by_matplotlib(svg: bytes) -> bool:
    """Whether a file holds nothing but what matplotlib writes into a figure: no script, no link, no text of others.

    What comes from a file is otherwise no part of a page, since a vector figure is markup.
    """
    comments = svg.count(b"<!--")
    if svg.count(b"<?") != 1 or b"<![" in svg or b"<!ENTITY" in svg or comments != len(_PLAIN.findall(svg)):
        return False
    harmless = _ROOT.search(svg.decode("utf-8", "replace")) is not None
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
                harmless &= name in _ATTRIBUTES and _HARMLESS_STYLE.fullmatch(value) is not None

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


_DATA_IMAGE = re.compile(r'(<image[^>]*? xlink:href|<image[^>]*? href)="data:image/png;base64,([^"]*)"')
_STYLE_ATTRIBUTE = re.compile(r' style="([^"]*)"')


def without_inline_parts(svg: str, address: Callable[[bytes], str]) -> str:
    """The text of an InlineVector for a page whose policy allows neither data: addresses nor styles in attributes.

    address: stores a PNG and returns its address. Properties of style attributes become attributes of their own.
    """
    svg = _DATA_IMAGE.sub(lambda m: f'{m[1]}="{address(base64.b64decode(m[2]))}"', svg)
    return _STYLE_ATTRIBUTE.sub(lambda m: _as_attributes(m[1]), svg)


def _as_attributes(style: str) -> str:
    properties = [part.partition(":") for part in style.split(";") if part.strip()]
    return "".join(f' {name.strip()}="{value.strip()}"' for name, _, value in properties)


def _shortened(outline: re.Match[str]) -> str:
    """The path of an outline with hundredths of a point, in one line."""
    path = _DECIMALS.sub(r"\1", " ".join(outline[1].split()))
    return f' d="{path}"'
