import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid, Table
from probe.exhibits.result import Result
from probe.reporting.document import Report
from probe.reporting.pdf import ROWS, write_pdf
from tests.exhibits.examples import NASTY
from tests.reporting.examples import report, small


def pages(path: Path) -> list[str]:
    """The text of each page."""
    if shutil.which("pdftotext") is None:
        pytest.skip("pdftotext is not installed")
    text = subprocess.run(
        ["pdftotext", "-layout", path, "-"], capture_output=True, check=True
    ).stdout.decode()
    return text.split("\f")[:-1]


@pytest.fixture(scope="module")
def pdf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("pdf") / "report.pdf"
    write_pdf(path, report())
    return path


def with_table(table: Table) -> Report:
    section = replace(report().sections[0], result=Result(exhibits=[table]))
    return report(sections=[section])


def test_names_from_strangers_are_shown_as_they_are(pdf: Path):
    text = " ".join(" ".join(pages(pdf)).split())
    assert NASTY in text.replace("’", "'")
    hostile = 'a "b" #c $d$ _e_ *f* `g` @h <i> ../j \\k // l'
    table = Table(title=hostile, caption=hostile, columns=[hostile], rows=[[hostile]])
    path = pdf.with_name("hostile.pdf")
    write_pdf(path, with_table(table))
    shown = " ".join(" ".join(pages(path)).split())
    assert shown.count(hostile) >= 4


def test_every_section_with_its_caption_and_its_problem_is_there(pdf: Path):
    text = " ".join(" ".join(pages(pdf)).split())
    for section in report().sections:
        assert f"{section.title}" in text.replace("’", "'")
    assert "This analysis was interrupted." in text
    for exhibit in report().sections[0].result.exhibits:  # pyrefly: ignore[missing-attribute]
        assert " ".join(exhibit.caption.split())[:40] in text.replace("ﬁ", "fi")


def test_the_header_names_every_model(tmp_path: Path):
    compared = small(model={"name": "first"}, provenance={"compare_to": [{"name": "second", "digest": "0"}]})
    write_pdf(tmp_path / "a.pdf", compared)
    assert "first and second" in pages(tmp_path / "a.pdf")[0]


def test_it_declares_the_standard_for_accessible_documents(pdf: Path):
    data = pdf.read_bytes()
    assert b"<pdfuaid:part>1</pdfuaid:part>" in data
    assert b"/MarkInfo" in data
    assert b"/Lang" in data


def test_the_same_report_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        write_pdf(tmp_path / name, small())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_long_tables_are_cut_with_a_note(tmp_path: Path):
    table = Table(title="Long", caption="All.", columns=["i", "x"], rows=[[f"row{i}", i] for i in range(300)])
    write_pdf(tmp_path / "a.pdf", with_table(table))
    text = " ".join(pages(tmp_path / "a.pdf"))
    assert len(re.findall(r"\brow\d+", text)) == ROWS
    assert f"The first {ROWS} of 300 rows" in text


def test_characters_without_a_glyph_are_boxes_and_warned_of(tmp_path: Path):
    cuneiform = "\U00012000"
    named = Table(title="Names", caption=f"a {cuneiform}", columns=["name"], rows=[[f"b {cuneiform}"]])
    (warning,) = write_pdf(tmp_path / "a.pdf", with_table(named))
    assert warning.startswith("PDF: 2 texts hold characters that no installed font can show")
    assert write_pdf(tmp_path / "a.pdf", small(title="plain", model={"name": "naïve Ωμέγα العربية"})) == []


def test_an_exhibit_that_cannot_be_drawn_is_named_and_the_rest_is_shown(tmp_path: Path):
    broken = ImageGrid(title="Broken grid", caption="Nothing.", images=[])
    section = replace(report().sections[0], result=Result(exhibits=[broken]))
    write_pdf(tmp_path / "a.pdf", report(sections=[section]))
    text = " ".join(pages(tmp_path / "a.pdf"))
    assert "Not drawn." in text
    assert "Provenance" in text


def test_photographs_do_not_make_it_large(tmp_path: Path):
    noise = np.random.default_rng(0).random((12, 160, 160, 3), dtype=np.float32)  # cannot be stored smaller
    grid = ImageGrid(title="Noise", caption="Twelve images.", images=list(noise))
    section = replace(report().sections[0], result=Result(exhibits=[grid]))
    write_pdf(tmp_path / "a.pdf", report(sections=[section]))
    assert (tmp_path / "a.pdf").stat().st_size < 0.8 * noise.size


def test_without_typst_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "typst", None)
    with pytest.raises(UserError, match="pip install typst"):
        write_pdf(tmp_path / "a.pdf", small())
    assert not list(tmp_path.iterdir())


def test_sentences_in_a_table_of_many_columns_get_more_of_its_width_than_numbers() -> None:
    from probe.reporting.pdf import _table

    columns = ["method", "verdict", "blank maps", *(f"similarity {k}" for k in range(6))]
    verdict = "fails: randomisation, class; too few images: image, noise, insertion and deletion"
    widths = _table(
        Table(title="t", caption="", columns=columns, rows=[["Gradient", verdict, "12 of 16", *[0.5] * 6]])
    )["widths"]
    assert widths[1] > 1.3 * max(widths[3:])
    assert widths[2] > len("12 of 16")
    assert _table(Table(title="t", caption="", columns=columns[:3], rows=[["a", verdict, 1]]))["widths"] == []
