"""Pages: nothing is loaded from anywhere, names are text, and everything of the report is shown."""

import base64
import csv
import hashlib
import io
import os
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest

from probe.exhibits.exhibits import ImageGrid, Table
from probe.exhibits.result import Number, Result
from probe.reporting.document import format_fact, headline_numbers
from probe.reporting.html import link_arxiv, render, write_html
from tests.exhibits.examples import NASTY, exhibits
from tests.reporting.examples import Page, report, small


@pytest.fixture(scope="module")
def text() -> str:
    return render(report())


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_names_from_files_are_text_and_never_markup(text: str, page: Page):
    assert "<script>alert" not in text
    assert len(page.named("script")) == 1
    assert page.text.count(NASTY) > 10


def test_nothing_is_loaded_from_anywhere(text: str, page: Page):
    loaded = [
        a.get(name)
        for _, a in page.tags
        for name in ("src", "srcset", "poster", "data", "action")
        if a.get(name)
    ]
    loaded += [a.get("href") or a.get("xlink:href") for tag, a in page.tags if tag == "image"]
    assert len(loaded) >= 5
    assert all(address and address.startswith("data:image/") for address in loaded)
    links = [a["href"] for a in page.named("a")] + [a["href"] for a in page.named("link")]
    assert all(re.match(r"#|data:|https://arxiv\.org/abs/", link or "") for link in links)
    assert not re.search(r"https?://", re.sub(r'<a href="https://arxiv\.org/abs/[\d.]+"', "", text))
    assert not re.search(r"@import|url\((?!#)", text)


def test_the_content_policy_allows_the_script_of_the_page_alone(text: str, page: Page):
    script = text[text.index("<script>") + 8 : text.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = next(
        a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    rules = (policy or "").split("; ")
    assert f"script-src 'sha256-{digest}'" in rules
    assert "default-src 'none'" in rules
    assert "img-src data:" in rules


@pytest.fixture(scope="module")
def beside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with its files in a folder beside it."""
    path = tmp_path_factory.mktemp("beside") / "a report.html"
    write_html(path, report(), assets="folder")
    return path


def test_a_page_with_files_beside_it_has_nothing_inline_that_a_strict_policy_forbids(beside: Path):
    text = beside.read_text()
    page = Page(text)
    assert "data:" not in re.sub(r"<h3>.*?</h3>", "", text)
    assert not page.named("style")
    assert not any("style" in a or any(name.startswith("on") for name in a) for _, a in page.tags)
    addresses = [a.get(name) for _, a in page.tags for name in ("src", "srcset") if a.get(name)]
    addresses += [a.get("href") or a.get("xlink:href") for tag, a in page.tags if tag in ("image", "link")]
    addresses += [a["href"] for a in page.named("a") if "download" in a]
    assert len(addresses) >= 12
    for address in addresses:
        assert address
        assert address.startswith("a%20report_files/")
        assert (beside.parent / unquote(address)).stat().st_size > 0
    policy = next(
        a["content"] for a in page.named("meta") if a.get("http-equiv") == "Content-Security-Policy"
    )
    assert "unsafe-inline" not in (policy or "")


def test_a_page_with_files_beside_it_shows_what_a_page_of_one_file_shows(beside: Path, page: Page):
    other = Page(beside.read_text())
    assert other.text.split() == page.text.split()
    assert [a.get("alt") for a in other.named("img")] == [a.get("alt") for a in page.named("img")]
    assert len(other.named("path")) == len(page.named("path"))


def test_images_beside_a_page_are_never_compressed(tmp_path: Path):
    noise = [np.random.default_rng(i).random((200, 200, 3), dtype=np.float32) for i in range(8)]
    grid = ImageGrid(title="Noise", caption="Eight.", images=noise)
    large = report(sections=[replace(report().sections[0], result=Result(exhibits=[grid]))])
    write_html(tmp_path / "report.html", large, limit=400_000, assets="folder")
    assert "compressed" not in (tmp_path / "report.html").read_text()
    assert (tmp_path / "report_files" / "classify-01-noise.webp").stat().st_size > 400_000


def test_every_picture_has_its_title_and_caption_as_alternative_text(page: Page):
    images = [e for e in exhibits() if isinstance(e, ImageGrid)]
    figures = [e for e in exhibits() if not isinstance(e, ImageGrid | Table)]
    assert [a["alt"] for a in page.named("img")] == [f"{e.title}. {e.caption}" for e in images]
    vectors = page.named("svg")
    assert [a["aria-label"] for a in vectors] == [f"{e.title}. {e.caption}" for e in figures]
    assert all(a["role"] == "img" for a in vectors)


def test_figures_follow_the_page_and_link_to_their_own_parts(text: str, page: Page):
    assert (
        text.count("stroke: var(--figure-ink, #1d232b)") + text.count("fill: var(--figure-ink, #1d232b)") > 10
    )
    assert re.search(r"@media screen and \(prefers-color-scheme: dark\) { :root { --figure-ink: #", text)
    ids = {a["id"] for _, a in page.tags if "id" in a}
    used = set(re.findall(r"url\(#([^)]+)\)", text)) | {
        a["href"][1:] for tag, a in page.tags if tag == "use" and a["href"]
    }
    assert used
    assert used <= ids


def test_anchors_are_unique_and_every_link_within_the_page_has_a_target(page: Page):
    anchors = [a["id"] for _, a in page.tags if "id" in a]
    assert len(anchors) == len(set(anchors))
    inner = [a["href"] for a in page.named("a") if (a["href"] or "").startswith("#")]
    assert len(inner) > 10
    assert {href[1:] for href in inner if href} <= set(anchors)


def test_failed_and_interrupted_analyses_are_listed_at_the_top_and_in_their_sections(page: Page):
    assert page.text.count(f"It broke: {NASTY}") == 2
    assert page.text.count("This analysis was interrupted") == 2


def test_numbers_show_interval_and_n_and_a_missing_one_is_a_dash(page: Page):
    words = " ".join(page.text.split())
    assert "98.1% 97.5% to 98.6% n = 10,000" in words
    assert "nan" not in words.split()


def test_the_csv_inside_the_page_is_the_data(page: Page):
    links = [a for a in page.named("a") if "download" in a]
    assert len(links) == 5
    head, data = (links[-1]["href"] or "").split(",", 1)
    assert head == "data:text/csv;charset=utf-8;base64"
    rows = list(csv.reader(io.StringIO(base64.b64decode(data).decode(), newline="")))
    assert rows[0] == ["layer", "units", "dead", "note"]
    assert rows[2][0] == "'=HYPERLINK(0)"


def test_named_headlines_are_shown_in_their_order_and_no_others():
    numbers = {f"number {i}": Number(value=i) for i in range(9)}
    section = replace(report().sections[0], result=Result(exhibits=[], numbers=numbers))
    chosen = [("classify", f"number {i}") for i in (7, 3, 8, 1, 2, 0)] + [("nowhere", "x")]
    words = Page(render(report(sections=[section], headlines=chosen))).text
    top = words[: words.index("Model and data", words.index("Summary") + 30)]
    assert [i for i in range(9) if f"number {i}\n" in top] == [0, 1, 2, 3, 7, 8]
    assert top.index("number 7") < top.index("number 3")


def test_a_star_in_a_headline_stands_for_the_names_of_models():
    numbers = {name: Number(value=1) for name in ("loss", "accuracy_0", "accuracy_1")}
    section = replace(report().sections[0], result=Result(exhibits=[], numbers=numbers))
    found = headline_numbers(report(sections=[section], headlines=[("classify", "accuracy_*")]))
    assert [key for _, key, _ in found] == ["accuracy_0", "accuracy_1"]


def test_many_numbers_are_collapsed():
    numbers = {f"number {i}": Number(value=i) for i in range(20)}
    section = replace(report().sections[0], result=Result(exhibits=[], numbers=numbers))
    page = render(report(sections=[section]))
    assert "<summary>12 more numbers</summary>" in page
    assert all(f"number {i}\n" in Page(page).text for i in range(20))
    few = replace(section, result=Result(exhibits=[], numbers=dict(list(numbers.items())[:10])))
    assert "more numbers" not in render(report(sections=[few]))


def test_a_table_longer_than_a_window_scrolls_and_prints_its_first_rows():
    def page(rows: int) -> str:
        table = Table(title="t", caption="c", columns=["i"], rows=[[i] for i in range(rows)])
        section = replace(report().sections[0], result=Result(exhibits=[table], numbers={}))
        return render(report(sections=[section]))

    assert 'class="scroll long"' in page(60)
    assert page(60).count('<tr class="further">') == 20
    assert "The first 40 of 60 rows." in page(60)
    assert 'class="scroll long"' not in page(20)


def test_long_tables_are_truncated_with_a_note():
    long = Table(title="t", caption="c", columns=["i"], rows=[[i] for i in range(1234)])
    section = replace(report().sections[0], result=Result(exhibits=[long]))
    words = Page(render(report(sections=[section]))).text
    assert "The first 300 of 1,234 rows" in words


def test_images_of_a_page_that_would_be_too_large_are_compressed_with_a_note():
    noise = [np.random.default_rng(i).random((200, 200, 3), dtype=np.float32) for i in range(8)]
    section = replace(
        report().sections[0],
        result=Result(exhibits=[ImageGrid(title="Noise", caption="Eight.", images=noise)]),
    )
    large = report(sections=[section])
    whole, cut = render(large), render(large, limit=400_000)
    assert len(whole) > 400_000 >= len(cut.encode())
    assert "1 image was compressed to keep this page below 0.4 MB" in Page(cut).text
    assert "reduced in detail" not in whole


def test_an_exhibit_that_cannot_be_drawn_is_named_and_the_rest_is_shown():
    bad = ImageGrid(title="Bad", caption="c", images=[np.full((2, 2, 3), np.nan)])
    section = replace(report().sections[0], result=Result(exhibits=[bad, exhibits()[6]]))
    shown = Page(render(report(sections=[section])))
    assert "Not drawn. ImageGrid 'Bad': images[0] is not finite" in shown.text
    assert "HYPERLINK" in shown.text


def test_the_same_report_gives_the_same_bytes(tmp_path: Path):
    write_html(tmp_path / "one.html", small())
    write_html(tmp_path / "two.html", small())
    assert (tmp_path / "one.html").read_bytes() == (tmp_path / "two.html").read_bytes()


def test_a_page_is_replaced_atomically(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "report.html"
    path.write_text("the old page")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_html(path, small())
    assert os.listdir(tmp_path) == ["report.html"]
    assert path.read_text() == "the old page"


def test_a_lone_surrogate_in_a_file_name_does_not_break_the_page(tmp_path: Path):
    write_html(tmp_path / "report.html", small(data={"name": "folder:\udcff"}))
    assert (tmp_path / "report.html").stat().st_size > 1000


def test_an_empty_report_is_a_page():
    assert "Provenance" in Page(render(report(sections=[], model={}, data={}, provenance={}))).text


def test_sources_link_to_arxiv_and_escape_the_rest():
    assert str(link_arxiv("A & B, arXiv 1412.6572")) == (
        'A &amp; B, <a href="https://arxiv.org/abs/1412.6572" rel="noreferrer">arXiv&nbsp;1412.6572</a>'
    )
    assert str(link_arxiv("<b>")) == "&lt;b&gt;"


def test_facts_are_formatted():
    assert [
        format_fact(value)
        for value in (None, True, 272474, 2024, 8 / 255, 0.2, 0.123456, [3, 32, 32], ["a", "b"])
    ] == [*("–", "yes", "272,474", "2024", "8/255", "0.2", "0.1235", "3 × 32 × 32", "a, b")]
