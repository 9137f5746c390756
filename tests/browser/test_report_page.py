"""The HTML report in headless Chromium without a network. Screenshots lie in $PROBE_SCREENSHOTS, if it is set."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from probe.reporting.document import Report, Section
from probe.reporting.html import render, write_html
from tests.exhibits.examples import NASTY, result

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.browser]

Open = Callable[..., "playwright.Page"]


@pytest.fixture(scope="module")
def contents() -> Report:
    """A report with every kind of exhibit, names that mean harm, failures, and an analysis that failed."""
    everything = result()
    everything.exhibits[0] = replace(everything.exhibits[0], failures=True)  # pyrefly: ignore
    section = Section(
        anchor="all", title="Everything", source="", question="What?", parameters={}, result=everything
    )
    broken = Section(
        anchor="broken", title="Broken", source="", question="", parameters={}, error="It broke."
    )
    return Report(
        title="A report",
        model={"name": NASTY},
        data={"name": NASTY},
        sections=[section, broken],
        provenance={},
    )


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory, contents: Report) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(contents), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: "playwright.Browser", file: Path) -> Iterator[Open]:
    """Opens the page without a network; any error in it and any request that leaves it fails the test."""
    problems: list[str] = []
    contexts = []

    def open_page(width: int = 1280, **options) -> "playwright.Page":
        context = browser.new_context(viewport={"width": width, "height": 900}, offline=True, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda sent: problems.append(sent.url) if not sent.url.startswith(("file:", "data:")) else None,
        )
        page.goto(file.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not problems


def keep(page: "playwright.Page", name: str) -> None:
    if folder := os.environ.get("PROBE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"report-{name}.png")


def plot(page: "playwright.Page") -> tuple[float, float, float, float]:
    box = page.locator("dialog canvas.plot").bounding_box()
    assert box
    return box["x"], box["y"], box["width"], box["height"]


def test_a_table_is_sorted_by_a_click_on_its_column(opened: Open):
    page = opened()
    header = page.get_by_role("button", name="units")
    column = "table.sortable tbody tr td:nth-child(2)"
    header.click()
    assert [text.strip() for text in page.locator(column).all_inner_texts()] == ["−3", "64", "128"]
    header.click()
    assert [text.strip() for text in page.locator(column).all_inner_texts()] == ["128", "64", "−3"]


@pytest.mark.parametrize(("width", "look"), [(1280, "light"), (400, "dark")])
def test_points_of_an_embedding_show_their_images_and_those_that_are_similar(
    opened: Open, width: int, look: str
):
    page = opened(width, color_scheme=look)
    page.get_by_role("button", name="Explore: Embedding").click()
    canvas = page.locator("dialog canvas.plot")
    canvas.press("ArrowRight")
    detail = page.locator("dialog .detail")
    playwright.expect(detail).to_contain_text("point 1")
    playwright.expect(detail).to_contain_text(NASTY)
    playwright.expect(detail.locator(".point")).to_have_count(4)  # three similar ones, one joined by a line
    keep(page, f"embedding-{width}")
    detail.locator(".point").nth(1).click()
    playwright.expect(detail).to_contain_text("point 2")
    page.get_by_role("searchbox").fill("other")
    playwright.expect(detail).to_contain_text("30 selected")
    canvas.press("Escape")
    playwright.expect(page.locator("dialog")).to_be_hidden()


def test_points_inside_a_drawn_line_are_selected(opened: Open):
    page = opened()
    page.get_by_role("button", name="Explore: Embedding").click()
    x, y, width, height = plot(page)
    page.mouse.move(x + 3, y + 3)
    page.mouse.down()
    for right, down in ((0.99, 0.01), (0.99, 0.99), (0.01, 0.99), (0.01, 0.02)):
        page.mouse.move(x + right * width, y + down * height, steps=4)
    page.mouse.up()
    playwright.expect(page.locator("dialog .detail")).to_contain_text("60 selected")
    page.get_by_label("other").uncheck()
    page.mouse.click(x + width / 2, y + 4)  # far from every point
    playwright.expect(page.locator("dialog .detail")).to_have_text("")


def test_a_cell_of_a_matrix_opens_its_images(opened: Open):
    page = opened()
    figure = page.locator("figure", has=page.locator(".pairs"))
    figure.scroll_into_view_if_needed()
    box = figure.locator("svg image").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4)
    dialog = page.locator("dialog")
    playwright.expect(dialog).to_contain_text("9 images, of which 2 are shown")
    playwright.expect(dialog.locator("figcaption")).to_have_text(["first", "third"])
    keep(page, "cell")
    dialog.get_by_role("button", name="Close").click()
    page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 3 * box["height"] / 4)  # a cell without images
    playwright.expect(dialog).to_be_hidden()
    figure.locator(".pairs button").click()
    playwright.expect(dialog).to_contain_text(NASTY)


def test_a_surface_turns(opened: Open):
    page = opened()
    page.get_by_role("button", name="Turn: Loss surface").click()
    canvas = page.locator("dialog canvas.plot")
    before = canvas.evaluate("canvas => canvas.toDataURL()")
    x, y, width, height = plot(page)
    page.mouse.move(x + width / 2, y + height / 2)
    playwright.expect(page.locator("dialog .readout")).to_contain_text("loss")
    page.mouse.down()
    page.mouse.move(x + width / 2 + 160, y + height / 2 + 30, steps=4)
    page.mouse.up()
    keep(page, "surface")
    turned = canvas.evaluate("canvas => canvas.toDataURL()")
    assert turned != before
    canvas.press("ArrowLeft")
    assert canvas.evaluate("canvas => canvas.toDataURL()") != turned


def test_pictures_are_enlarged(opened: Open):
    page = opened()
    picture = page.locator("figure picture img").first
    small = picture.bounding_box()
    picture.click()
    large = page.locator("dialog .enlarged img").bounding_box()
    assert small
    assert large
    assert large["width"] >= small["width"]
    page.get_by_role("button", name="Close").click()
    playwright.expect(page.locator("dialog")).to_be_hidden()


def test_without_scripts_every_picture_is_there_and_no_dead_button(opened: Open):
    page = opened(java_script_enabled=False)
    assert page.locator("main figure svg.figure, main figure picture img").count() == 6
    assert page.locator("figcaption button").count() == 0


def test_printed_pages_cut_no_picture(opened: Open, tmp_path: Path):
    page = opened()
    page.emulate_media(media="print")
    paper = page.locator("main figure").evaluate_all(
        "figures => figures.map(f => [f.scrollWidth <= f.clientWidth + 1, getComputedStyle(f).breakInside])"
    )
    assert all(fits and inside == "avoid" for fits, inside in paper)
    assert page.locator("dialog, nav, button.data").evaluate_all(
        "all => all.every(e => getComputedStyle(e).display === 'none')"
    )
    assert len(page.pdf(path=tmp_path / "page.pdf", format="A4")) > 10_000


STRICT = "default-src 'none'; img-src 'self'; style-src 'self'; script-src 'self'"
"""The content policy of a server that allows files of its own alone."""


@pytest.mark.parametrize("served", [False, True])
def test_a_page_with_files_beside_it_works_from_disk_and_under_a_strict_policy(
    browser: "playwright.Browser", contents: Report, tmp_path: Path, served: bool
):
    write_html(tmp_path / "report.html", contents, assets="folder")
    page = browser.new_page(offline=True)
    problems: list[str] = []
    page.on("console", lambda said: problems.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: problems.append(str(error)))
    if served:
        page.route(
            "http://probe.test/**",
            lambda route: route.fulfill(
                path=tmp_path / route.request.url.removeprefix("http://probe.test/"),
                headers={"Content-Security-Policy": STRICT},
            ),
        )
    page.goto("http://probe.test/report.html" if served else (tmp_path / "report.html").as_uri())
    broken = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).length"
    assert page.evaluate("document.images.length") == 2
    assert page.evaluate(broken) == 0
    strokes = "new Set([...document.querySelectorAll('svg path')].map(p => getComputedStyle(p).stroke)).size"
    assert page.evaluate(strokes) > 4
    assert page.evaluate("getComputedStyle(document.body).display") == "grid"
    page.get_by_role("button", name="Explore: Embedding").click()
    page.locator("dialog canvas.plot").press("ArrowRight")
    playwright.expect(page.locator("dialog .detail")).to_contain_text("point 1")
    page.emulate_media(media="print")
    assert len(page.pdf(format="A4")) > 10_000
    page.close()
    assert not problems


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_axe_finds_nothing(opened: Open, width: int, look: str):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(width, color_scheme=look)
    found = axe.Axe().run(page).response["violations"]
    page.get_by_role("button", name="Explore: Embedding").click()
    page.locator("dialog canvas.plot").press("ArrowRight")
    found += axe.Axe().run(page).response["violations"]
    assert not [(rule["id"], [node["html"][:150] for node in rule["nodes"][:4]]) for rule in found]
