"""The dashboard in headless Chromium, as a visitor uses it. Screenshots lie in $PROBE_SCREENSHOTS, if it is set."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from tests.browser.server import serve

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.browser]

PAGES = (
    "",
    "units",
    "attribution",
    "adversarial",
    "synthesis",
    "representation",
    "landscape",
    "compare",
    "runs",
    "importing",
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a running dashboard."""
    with serve(tmp_path_factory.mktemp("runs")) as server:
        yield server.address


@pytest.fixture
def page(browser: "playwright.Browser") -> Iterator["playwright.Page"]:
    """A page of its own, whose requests to other hosts and whose errors fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    page = context.new_page()
    page.set_default_timeout(90_000)
    outside: list[str] = []
    page.on(
        "request",
        lambda r: (
            outside.append(r.url)
            if not r.url.startswith(("http://127.0.0.1", "ws://127.0.0.1", "data:", "blob:"))
            else None
        ),
    )
    yield page
    assert not outside
    assert page.locator("[data-testid=stException]").count() == 0
    context.close()


def shoot(page: "playwright.Page", name: str) -> None:
    folder = os.environ.get("PROBE_SCREENSHOTS")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")


def run(page: "playwright.Page", which: int = 0) -> None:
    page.get_by_role("button", name="Run", exact=True).nth(which).click()


@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens_wide_and_narrow_light_and_dark(address: str, page: "playwright.Page", name: str):
    for width, scheme in ((1280, "light"), (400, "dark")):
        page.set_viewport_size({"width": width, "height": 1400})
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{address}/{name}?model=lenet5-digits")
        page.wait_for_selector("h1")
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(1500)
        shoot(page, f"{name or 'overview'}-{width}-{scheme}")
        overflow = page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth + 1"
        )
        assert not overflow
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(page).response["violations"]
        severe = [rule for rule in found if rule["impact"] in ("serious", "critical")]
        assert not [(rule["id"], [node["html"][:150] for node in rule["nodes"][:4]]) for rule in severe]


def test_a_model_is_chosen_and_its_page_is_a_link(address: str, page: "playwright.Page"):
    page.goto(address)
    page.wait_for_selector("h1")
    page.get_by_label("Model", exact=False).first.click()
    page.get_by_role("option", name="lenet5-digits", exact=True).click()
    page.wait_for_selector("h1:has-text('lenet5-digits')")
    assert "model=lenet5-digits" in page.url
    page.reload()
    page.wait_for_selector("h1:has-text('lenet5-digits')")


def test_the_patches_of_a_unit_are_seen(address: str, page: "playwright.Page"):
    page.goto(f"{address}/units?model=lenet5-digits&channel=3")
    page.wait_for_selector("text=Top patches")
    page.wait_for_selector("text=largest activations")
    page.locator("img").nth(8).wait_for()
    shoot(page, "unit")


def test_a_click_in_an_image_shows_the_channels_there_and_opens_one(address: str, page: "playwright.Page"):
    page.goto(f"{address}/units?model=lenet5-digits&channel=0&image=3")
    page.wait_for_selector("text=Strongest channels on this image")
    frame = page.locator(".frame")
    frame.scroll_into_view_if_needed()
    frame.click(position={"x": 60, "y": 70})
    page.wait_for_selector("text=/Strongest channels at row [0-9]+, column [0-9]+/")
    page.wait_for_timeout(1500)
    shoot(page, "place")
    card = page.get_by_role("button", name=re.compile(r"^Channel \d+$")).first
    number = card.inner_text().split()[-1]
    card.click()
    page.wait_for_url(f"**channel={number}*" if number != "0" else "**")
    page.wait_for_selector("text=/Strongest channels at row/")


def test_a_checkpoint_is_imported_and_analysed(address: str, page: "playwright.Page", tmp_path: Path):
    names = [f"shape <b>{i}</b>" for i in range(3)]
    network = torchvision.models.resnet18(num_classes=3)  # 45 MB, more than the limit of pictures
    torch.save(network.state_dict(), tmp_path / "my net.pth")
    page.goto(f"{address}/importing")
    page.set_input_files("input[type=file]", tmp_path / "my net.pth")
    page.wait_for_selector("text=my net.pth")
    page.wait_for_timeout(2000)
    box = page.get_by_label("Architecture", exact=False)
    box.click()
    box.fill("torchvision:resnet18")
    page.get_by_role("option", name="torchvision:resnet18", exact=True).click()
    page.get_by_role("textbox", name="Class names").fill("\n".join(names))
    page.get_by_role("button", name="Import").click()
    page.wait_for_selector("text=my-net is imported")
    shoot(page, "imported")
    page.get_by_role("button", name="Analyse this model").click()
    page.goto(f"{address}/?model=my-net")
    page.wait_for_selector("h1:has-text('my-net')")


def test_a_checkpoint_that_runs_code_is_one_line(address: str, page: "playwright.Page", tmp_path: Path):
    canary = tmp_path / "canary"

    class Evil:
        def __reduce__(self):
            return (canary.touch, ())

    torch.save({"weight": Evil()}, tmp_path / "evil.pth")
    page.goto(f"{address}/importing")
    page.set_input_files("input[type=file]", tmp_path / "evil.pth")
    page.wait_for_selector("text=evil.pth")
    page.wait_for_timeout(2000)  # the page runs again with the upload
    page.get_by_role("button", name="Import").click()
    page.wait_for_selector("[data-testid=stAlert]")
    assert "internal error" not in page.inner_text("[data-testid=stAlert]")
    assert not canary.exists()


def test_an_image_is_uploaded_and_attacked(address: str, page: "playwright.Page", tmp_path: Path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)).save(path)
    page.goto(f"{address}/adversarial?model=lenet5-digits&eps=64.0")
    page.wait_for_selector("text=fooled")
    page.get_by_text("My own picture").click()
    page.set_input_files("input[type=file]", path)
    page.wait_for_selector("text=uploaded picture")
    page.wait_for_selector("text=The largest change of a pixel value")
    shoot(page, "uploaded")


def test_a_file_that_is_no_picture_is_one_line(address: str, page: "playwright.Page", tmp_path: Path):
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    page.goto(f"{address}/attribution?model=lenet5-digits")
    page.get_by_text("My own picture").click()
    page.set_input_files("input[type=file]", path)
    page.wait_for_selector("text=cannot be read as a picture")


FIRST_POINT = """() => {
    const plot = document.querySelector("[data-testid=stPlotlyChart] .js-plotly-plot");
    const { xaxis, yaxis, _size } = plot._fullLayout, trace = plot._fullData[0], corner = plot.getBoundingClientRect();
    return { x: corner.left + _size.l + xaxis.d2p(trace.x[0]), y: corner.top + _size.t + yaxis.d2p(trace.y[0]) };
}"""
"""Where the first point of the first scatter plot is on the screen."""


def test_a_point_of_the_embedding_is_clicked_and_its_image_shown(address: str, page: "playwright.Page"):
    page.goto(f"{address}/representation?model=lenet5-digits")
    page.get_by_text("Parameters", exact=True).first.click()
    methods = page.get_by_label("methods", exact=True).first
    methods.fill("pca")
    methods.press("Tab")
    page.wait_for_timeout(1000)  # the hint below the field goes, and what follows moves
    page.get_by_role("button", name="Run with these").first.click()
    plot = page.locator("[data-testid=stPlotlyChart] .nsewdrag").first
    plot.wait_for()
    page.wait_for_timeout(2000)  # until what lies above it has its height
    plot.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    at = page.evaluate(FIRST_POINT)
    page.mouse.move(at["x"] - 5, at["y"] - 5)
    page.mouse.move(at["x"], at["y"], steps=4)
    page.wait_for_timeout(500)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("text=/The image and the [0-9]+ /")
    shoot(page, "clicked")
    page.get_by_text("Lasso", exact=True).first.click()
    page.wait_for_selector("text=Draw a lasso")
    page.wait_for_timeout(2000)
    box = plot.bounding_box()
    assert box is not None
    left, top, width, height = box["x"], box["y"], box["width"], box["height"]
    corners = [(0.02, 0.02), (0.98, 0.02), (0.98, 0.98), (0.02, 0.98), (0.02, 0.02)]
    page.mouse.move(left + 0.02 * width, top + 0.02 * height)
    page.mouse.down()
    for x, y in corners:
        page.mouse.move(left + x * width, top + y * height, steps=10)
    page.mouse.up()
    page.wait_for_selector("text=/[0-9]+ images/")
    page.locator("img").nth(8).wait_for()
    shoot(page, "embedding")
    page.get_by_role("button", name="Use these images").first.click()
    page.wait_for_selector("text=/Saved as selection 1 of digits/")
    page.get_by_role("link", name="Overview").click()
    page.wait_for_selector("text=Most confident mistakes")
    page.get_by_label("Images", exact=True).click()
    page.get_by_role("option", name="selection 1 of digits").click()
    page.wait_for_url("**data=selection*")
    page.wait_for_selector("text=/[0-9]+ images of digits/")


def test_a_dream_is_started_and_cancelled_and_the_page_goes_on(address: str, page: "playwright.Page"):
    page.goto(f"{address}/synthesis?model=vgg-shapes")
    run(page)
    page.wait_for_selector("[data-testid=stProgress]:has-text('octave ')")
    page.get_by_role("button", name="Cancel").first.click()
    page.wait_for_selector("text=Cancelled.")
    page.get_by_role("button", name="Run", exact=True).first.wait_for()


def test_a_run_is_downloaded_as_pdf_and_as_page(address: str, page: "playwright.Page"):
    page.goto(f"{address}/?model=lenet5-digits")
    run(page)
    page.wait_for_selector("text=Run: classify")
    page.goto(f"{address}/runs")
    for name, start in (("PDF report", b"%PDF"), ("HTML report", b"<!doctype html>")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        assert Path(download.value.path()).read_bytes().startswith(start)
    shoot(page, "run")


def test_two_visitors_at_once_both_see_their_model(address: str, browser: "playwright.Browser"):
    pages = [browser.new_page(), browser.new_page()]
    models = ("lenet5-digits", "vgg-shapes")
    for page, model in zip(pages, models, strict=True):
        page.goto(f"{address}/attribution?model={model}")
    for page, model in zip(pages, models, strict=True):
        page.wait_for_selector("text=Integrated gradients", timeout=90_000)
        page.wait_for_selector(f"text=These run on {model}", timeout=90_000)
        page.close()
