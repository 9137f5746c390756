"""Vector figures inside a page: unique ids, short numbers, and colours that are variables of the page."""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

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
ROOT = re.compile(r"<svg[^>]*?viewBox=\"0 0 ([\d.]+) ([\d.]+)\"[^>]*>")
"""The opening tag of a figure, with its width and height in points."""
_DATA_IMAGE = re.compile(r'(<image[^>]*? xlink:href|<image[^>]*? href)="data:image/png;base64,([^"]*)"')
_STYLE_ATTRIBUTE = re.compile(r' style="([^"]*)"')
_POINTS = 96 / 72  # CSS pixels in a point


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
    match = ROOT.match(body)
    assert match is not None
    width, height = (float(match[k]) for k in (1, 2))
    label = escape(f"{title}. {description}", quote=True)
    root = (
        f'<svg class="figure" role="img" aria-label="{label}" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width * _POINTS:.0f}" height="{height * _POINTS:.0f}" '
        'style="stroke-linejoin: round; stroke-linecap: butt">'
    )
    return InlineVector(root + _BETWEEN.sub("><", body[match.end() :]).strip(), round(width * _POINTS))


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
