"""How fast the dashboard answers a visitor, and whether its memory comes back. Times hold for an idle machine."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import browser  # noqa: F401  a fixture
from tests.browser.server import Server, serve

playwright = pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.slow, pytest.mark.browser]

MODELS = (
    *("lenet5-digits", "vgg-shapes", "vgg-shapes-shortcut", "lenet5-mnist", "lenet5-cifar10"),
    *("conv2-cifar10", "conv2-bn-cifar10", "cifar-convnet-cifar10", "resnet20-cifar10", "plain20-cifar10"),
)
PAGES = ("", "units", "attribution", "adversarial", "compare")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("runs")) as running:
        yield running


def until(page: "playwright.Page", selector: str, act: Callable[[], object]) -> float:
    """Seconds from an action to the appearance of an element."""
    started = time.perf_counter()
    act()
    page.wait_for_selector(selector, timeout=90_000)
    return time.perf_counter() - started


def test_the_first_page_is_there_within_three_seconds(tmp_path: Path, browser: "playwright.Browser"):  # noqa: F811
    with serve(tmp_path) as fresh:
        page = browser.new_page()
        seconds = until(page, "h1:has-text('vgg-shapes')", lambda: page.goto(fresh.address))
        print(f"first page of a new server: {seconds:.2f} s")
        page.close()
    assert seconds < 3


def test_another_unit_is_shown_within_half_a_second(server: Server, browser: "playwright.Browser"):  # noqa: F811
    page = browser.new_page()
    page.goto(f"{server.address}/units?model=lenet5-digits&channel=0")
    page.wait_for_selector("text=image patches with the largest activations", timeout=90_000)
    page.wait_for_selector("text=Strongest channels")
    times = []
    box = page.get_by_label("Channel", exact=True)
    for channel in range(1, 6):

        def change(channel: int = channel) -> None:
            box.fill(str(channel))
            box.press("Enter")

        times.append(until(page, f"img[alt='channel {channel}']", change))
    print(f"another unit: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
    page.close()
    assert sorted(times)[2] < 0.5


def test_an_attack_at_another_eps_is_shown_within_half_a_second(
    server: Server,
    browser: "playwright.Browser",  # noqa: F811
):
    page = browser.new_page()
    page.goto(f"{server.address}/adversarial?model=lenet5-digits&eps=8.0")
    page.wait_for_selector("text=The largest change of a pixel value is 8.0 of 255", timeout=90_000)
    slider = page.get_by_role("slider").first
    times = []
    for step in range(1, 6):
        text = f"text=The largest change of a pixel value is {8 + step / 2:.1f} of 255"
        times.append(until(page, text, lambda: slider.press("ArrowRight")))
    print(f"another eps: {', '.join(f'{seconds:.2f}' for seconds in times)} s")
    page.close()
    assert sorted(times)[2] < 0.5


def test_memory_comes_back_after_fifty_pages_and_ten_models(server: Server, browser: "playwright.Browser"):  # noqa: F811
    def visit(model: str) -> None:
        page = browser.new_page()
        for name in PAGES:
            page.goto(f"{server.address}/{name}?model={model}&n=50")
            page.wait_for_selector("h1", timeout=90_000)
            page.wait_for_load_state("networkidle")
        page.close()

    visit(MODELS[0])  # what is imported once stays
    before = server.megabytes
    peak = before
    for model in MODELS:
        visit(model)
        peak = max(peak, server.megabytes)
    time.sleep(5)
    print(f"memory of the server: {before:.0f} MB, at most {peak:.0f}, {server.megabytes:.0f} MB afterwards")
    assert server.megabytes < before + 200
