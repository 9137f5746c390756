"""Drawings that a folder keeps: the same bytes as drawn again, and nothing else gets into a page."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probe.exhibits import static
from probe.exhibits.drawings import Drawings
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Scatter, Table
from probe.exhibits.inline import Inline
from probe.exhibits.vector_check import is_drawn_by_matplotlib
from tests.exhibits.examples import exhibits

CHART = next(e for e in exhibits() if isinstance(e, Chart))
GRID = next(e for e in exhibits() if isinstance(e, ImageGrid))
SVG = static.svg(CHART)


def drawn(exhibit: Exhibit, folder: Path | None) -> list[bytes | None]:
    with Drawings(folder) as drawings:
        image = drawings.image(exhibit, "either")
        return [drawings.vector(exhibit), drawings.jpeg(exhibit), image.result().data]


def test_what_is_kept_is_what_would_be_drawn_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for exhibit in (CHART, GRID):
        anew = drawn(exhibit, None)
        assert drawn(exhibit, tmp_path) == anew
        with monkeypatch.context() as patch:
            for name in ("svg", "jpeg", "pixels"):
                patch.delattr(static, name)
            assert drawn(exhibit, tmp_path) == anew


def test_a_large_vector_figure_is_none_with_and_without_a_folder(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).random((400, 400, 3), dtype=np.float32)
    grid = ImageGrid(title="t", caption="c", images=[noise])
    for folder in (None, tmp_path, tmp_path):
        with Drawings(folder) as drawings:
            assert drawings.vector(grid) is None


@pytest.mark.parametrize("smallest", [10**9, 100_000])
def test_an_image_that_was_kept_is_a_draft_if_it_was_drawn_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: int
) -> None:
    monkeypatch.setattr("probe.exhibits.inline._DRAFT_PIXELS", smallest)
    noise = np.random.default_rng(0).random((400, 400, 3), dtype=np.float32)
    grid = ImageGrid(title="t", caption="c", images=[noise])

    def image() -> Inline:
        with Drawings(tmp_path, drafts=True) as drawings:
            return drawings.image(grid, "either").result()

    first = image()
    assert first.n_bytes > 1_000_000
    assert first.draft == (smallest < 10**9)
    assert image() == first


def test_a_change_of_the_exhibit_or_of_the_code_is_drawn_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn(CHART, tmp_path)
    drawn(replace(CHART, x_label="another"), tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == 2
    first, *others = CHART.lines
    moved = replace(first, y=np.asarray(first.y) * 0.5)
    drawn(replace(CHART, lines=[moved, *others]), tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == 3
    monkeypatch.setattr("probe.exhibits.drawings._code", lambda: "another version")
    drawn(CHART, tmp_path)
    assert len(list(tmp_path.glob("*.svg"))) == 4


def test_a_draft_and_what_replaces_it_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("probe.exhibits.inline._DRAFT_PIXELS", 100_000)
    noise = np.random.default_rng(0).random((400, 400, 3), dtype=np.float32)
    grid = ImageGrid(title="t", caption="c", images=[noise])
    with Drawings(None) as drawings:
        well = drawings.image(grid, "either").result()
    with Drawings(tmp_path, drafts=True) as drawings:
        draft = drawings.image(grid, "either").result()
        assert draft.draft
        assert not well.draft
        assert drawings.refined(draft) == well
    monkeypatch.delattr(static, "pixels")
    monkeypatch.delattr("probe.exhibits.drawings.refine")
    with Drawings(tmp_path, drafts=True) as drawings:
        assert drawings.image(grid, "either").result() == draft
        assert drawings.refined(draft) == well
    with Drawings(tmp_path) as drawings:
        assert drawings.image(grid, "either").result() == well


def test_damaged_and_foreign_files_are_not_used(tmp_path: Path) -> None:
    anew = drawn(CHART, tmp_path)
    for content in (b"", b"x", bytes(40), hashlib.sha256(b"no image").digest() + b"no image"):
        for file in list(tmp_path.iterdir()):
            file.write_bytes(content)
        again = drawn(CHART, tmp_path)
        assert again[0] == anew[0]
        assert again[2] == anew[2]


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert drawn(CHART, tmp_path / "file") == drawn(CHART, None)


@pytest.mark.parametrize("exhibit", exhibits(), ids=lambda e: e.title[:12])
def test_what_matplotlib_draws_is_recognised(exhibit: Exhibit) -> None:
    assert isinstance(exhibit, Table) or is_drawn_by_matplotlib(static.svg(exhibit))


def test_points_in_an_image_are_recognised() -> None:
    x = np.random.default_rng(0).normal(size=3000)
    assert is_drawn_by_matplotlib(static.svg(Scatter(title="t", caption="c", x=x, y=x)))


@pytest.mark.parametrize(
    "change",
    [
        (b"</svg>", b"<script>alert(1)</script></svg>"),
        (b"</svg>", b"<foreignObject/></svg>"),
        (b"</svg>", b"<a href='x'/></svg>"),
        (b"<defs>", b"<defs onload='alert(1)'>"),
        (b"<defs>", b"<defs><image xlink:href='https://example.org/x.png'/>"),
        (b"<defs>", b"<defs><use xlink:href='https://example.org/x.svg#a'/>"),
        (b"<defs>", b"<defs style='fill: url(https://example.org/x)'>"),
        (b"<defs>", b"<defs style='fill: u\\72l(x)'>"),
        (b"<metadata>", b"<metadata><metadata></metadata><cc:x onclick='alert(1)'/>"),
        (b"<metadata>", b"<metadata><![CDATA[</metadata><script>alert(1)</script>]]>"),
        (b"<metadata>", b"<metadata><!-- </metadata><script>alert(1)</script> -->"),
        (b"<metadata>", b"<?x ><script>alert(1)</script>?><metadata>"),
        (b"<metadata>", b"</wrong><metadata>"),
        (b"viewBox", b"version"),
    ],
)
def test_markup_that_matplotlib_does_not_write_is_refused(
    change: tuple[bytes, bytes], tmp_path: Path
) -> None:
    hostile = SVG.replace(*change, 1)
    assert hostile != SVG
    assert not is_drawn_by_matplotlib(hostile)
    drawn(CHART, tmp_path)
    (file,) = tmp_path.glob("*.svg")
    file.write_bytes(hashlib.sha256(hostile).digest() + hostile)
    with Drawings(tmp_path) as drawings:
        assert drawings.vector(CHART) == SVG
