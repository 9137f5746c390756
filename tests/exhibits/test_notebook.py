"""Results and exhibits in Python: HTML of their own, short text, titles, data frames, arrays, files."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Surface
from probe.exhibits.result import Number, Result
from probe.exhibits.static import svg
from probe.exhibits.vector import inline_svg
from probe.runs.opening import open_run
from tests.exhibits.examples import NASTY, exhibits, result


@pytest.fixture(scope="module")
def html() -> str:
    return result()._repr_html_()


def test_a_result_shows_numbers_warnings_pictures_and_captions(html: str) -> None:
    for exhibit in exhibits():
        assert exhibit.caption.split(";")[0] in html
    assert html.count("<figure>") == len(exhibits())
    assert "98.1%" in html
    assert "has 3 pictures only" in html


def test_names_are_text_and_nothing_is_loaded_or_run(html: str) -> None:
    assert "<script" not in html
    assert NASTY not in html
    assert not re.search(r"(src|href)=\"(?!data:image/|#)", html)
    assert not re.search(r"@import|url\((?!#)|https?://", html)


def test_its_style_touches_nothing_outside(html: str) -> None:
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    selectors = [part for rule in re.findall(r"([^{}]+)\{", style) for part in rule.split(",")]
    assert all(".probe" in selector for selector in selectors)
    assert '[data-jp-theme-light="false"] .probe' in style
    assert "--figure-ink: #e3e7ec" in style


def test_text_is_short() -> None:
    assert repr(result()) == "Result(7 exhibits, 2 numbers, 1 warning)"
    assert repr(exhibits()[2]) == "Chart('Accuracy under attack')"
    assert len(result().text()) < 2000


def test_exhibits_are_found_by_title_or_the_nearest_are_named() -> None:
    assert result()["Confusion"].title == "Confusion"
    assert [exhibit.title for exhibit in result()] == result().titles
    with pytest.raises(UserError, match=r"there is no exhibit 'Confusoin'\. Did you mean Confusion\?"):
        result()["Confusoin"]


def test_data_frames_hold_the_numbers_and_matrices_their_labels() -> None:
    frames = result().to_pandas()
    assert set(frames) == {exhibit.title for exhibit in exhibits() if not isinstance(exhibit, ImageGrid)}
    matrix = frames["Confusion"]
    assert list(matrix.columns) == ["cat", "dog"]
    assert matrix.loc["-dog"].isna().all()
    chart = frames["Accuracy under attack"]
    assert list(chart.columns) == ["series", "x", "y", "low", "high"]
    assert chart["low"].dtype == float
    surface = exhibits()[5]
    assert isinstance(surface, Surface)
    assert len(frames["Loss surface"]) == surface.z.size
    with pytest.raises(UserError, match="holds images and no table"):
        exhibits()[0].to_pandas()


def test_without_pandas_one_line_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['pandas'] = None\n"
        "from probe.exhibits.exhibits import Table\n"
        "from probe.errors import UserError\n"
        "try: Table(title='t', caption='c', columns=['a'], rows=[]).to_pandas()\n"
        "except UserError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("to_pandas needs pandas: pip install")


def test_arrays_are_those_of_the_exhibits() -> None:
    arrays = result().arrays
    matrix, chart = exhibits()[3], exhibits()[2]
    assert isinstance(matrix, Matrix)
    assert isinstance(chart, Chart)
    assert np.array_equal(arrays["Confusion"]["values"], matrix.values, equal_nan=True)
    assert np.array_equal(arrays["Accuracy under attack"]["@chance.y"], chart.lines[1].y)
    assert "images.0" in arrays["Ragged maps"]


@pytest.mark.parametrize("suffix", ["png", "svg", "csv"])
def test_an_exhibit_is_saved_by_the_ending_of_the_name(suffix: str, tmp_path: Path) -> None:
    path = exhibits()[2].save(tmp_path / f"chart.{suffix}")
    assert path.stat().st_size > 100
    with pytest.raises(UserError, match=r"must end in \.png, \.svg or \.csv"):
        exhibits()[2].save(tmp_path / "chart.jpg")


def test_an_unknown_number_names_the_nearest_and_absence_can_be_asked_for() -> None:
    numbers = Result(exhibits=[], numbers={"accuracy_attacked": Number(value=0.5)}).numbers
    with pytest.raises(UserError, match=r"there is no number 'acuracy'\. Did you mean accuracy_attacked\?"):
        numbers["acuracy"]
    assert numbers.get("acuracy") is None
    assert "acuracy" not in numbers
    assert numbers == {"accuracy_attacked": Number(value=0.5)}


def test_a_saved_result_is_read_by_its_class_and_damage_is_one_line(tmp_path: Path) -> None:
    folder = result().save(tmp_path / "saved")
    assert Result.load(folder).text() == result().text()
    with pytest.raises(UserError, match=r"open it with probe\.Result\.load"):
        open_run(folder)
    (folder / "result.json").write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="does not contain a complete result"):
        Result.load(folder)
    with pytest.raises(UserError, match="nowhere contains no result: pass a folder"):
        Result.load(tmp_path / "nowhere")


def test_a_result_is_saved_and_loaded(tmp_path: Path) -> None:
    from probe.exhibits.storage import load

    folder = result().save(tmp_path / "new")
    assert load(folder).numbers.keys() == result().numbers.keys()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        result().save(tmp_path / "file" / "new")


def test_outside_a_notebook_show_prints_text(capsys: pytest.CaptureFixture[str]) -> None:
    Result(exhibits=[], title="Nothing", setting="net").show()
    exhibits()[2].show()
    printed = capsys.readouterr().out
    assert printed.startswith("Nothing – net\nAccuracy under attack\n")


def figures() -> list[Exhibit]:
    return [exhibit for exhibit in exhibits() if not isinstance(exhibit, ImageGrid)]


@pytest.mark.parametrize("exhibit", figures(), ids=lambda e: type(e).__name__)
def test_a_vector_figure_is_drawn_once_and_its_links_lead_to_its_own_parts(exhibit: Exhibit) -> None:
    drawn = svg(exhibit)
    assert svg(exhibit) is drawn
    inline = inline_svg(drawn.decode(), prefix="here-", title="a", description='"b" <c>').text
    ids = re.findall(r' id="([^"]+)"', inline)
    assert len(ids) == len(set(ids))
    used = set(re.findall(r'href="#([^"]+)"', inline)) | set(re.findall(r"url\(#([^)]+)\)", inline))
    assert used <= set(ids)
    assert all(name.startswith("here-") for name in ids)
    assert 'aria-label="a. &quot;b&quot; &lt;c&gt;"' in inline
    assert "var(--figure-ink, #1d232b)" in inline
    assert not re.search(r"(?<!, )#1d232b", inline)
    assert len(inline) < len(drawn)
