import json
import shutil
from pathlib import Path

import pytest

import probe
from probe.analyses import catalogue, find
from probe.cli import main
from probe.errors import UserError
from probe.reporting.document import headline_numbers
from probe.reporting.html import render
from probe.reporting.recipes import Recipe
from probe.reporting.report import DRAWINGS, ReportResult, render_stored, report
from probe.reporting.stored import FILE, read_report
from probe.runs.execute import make_analysis


@pytest.fixture
def outcome(tmp_path: Path) -> ReportResult:
    recipe = Recipe("Two analyses", (make_analysis("classify"), make_analysis("filters")))
    return report(probe.load("lenet5-digits"), probe.images("digits:test", n=30), recipe, out=tmp_path)


def test_the_page_is_written_again_from_what_is_stored(outcome: ReportResult):
    page = outcome.page.read_bytes()
    outcome.page.unlink()
    again = render_stored(outcome.page.parent)
    assert outcome.page.read_bytes() == page
    assert list(again.results) == ["classify", "filters"]


def test_figures_that_are_stored_give_the_same_page_and_pdf_as_drawn_again(outcome: ReportResult):
    run = outcome.page.parent
    page, pdf = outcome.page.read_bytes(), outcome.write_pdf()[0].read_bytes()
    assert list((run / DRAWINGS).iterdir())
    shutil.rmtree(run / DRAWINGS)
    again = render_stored(run)
    assert again.page.read_bytes() == page
    assert again.write_pdf()[0].read_bytes() == pdf


def test_the_page_is_written_again_with_its_files_in_a_folder(outcome: ReportResult):
    again = render_stored(outcome.page.parent, assets="folder")
    assert (outcome.page.parent / "report_files" / "report.css").is_file()
    assert b"data:image" not in again.page.read_bytes()


def test_the_stored_report_is_that_of_the_run(outcome: ReportResult):
    assert render(read_report(outcome.page.parent)) == render(outcome.contents)


def test_a_damaged_result_is_named_in_its_section_and_the_rest_is_shown(
    outcome: ReportResult, capsys: pytest.CaptureFixture[str]
):
    path = outcome.page.parent / "filters" / "arrays.npz"
    path.write_bytes(path.read_bytes()[:-10])
    again = render_stored(outcome.page.parent)
    assert list(again.results) == ["classify"]
    assert list(again.failed) == ["filters"]
    assert main(["report", "--from", str(outcome.page.parent)]) == 1
    assert "filters: its result is missing or damaged" in capsys.readouterr().err
    assert "Its result is missing or damaged" in again.page.read_text()


@pytest.mark.parametrize(
    "change",
    [{"version": 2}, {"title": 3}, {"unknown": 1}, {"sections": [{"anchor": "../../etc"}]}, {"sections": {}}],
)
def test_another_version_or_a_damaged_file_is_one_line(outcome: ReportResult, change: dict[str, object]):
    path = outcome.page.parent / FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(
        UserError, match=r"report\.json is damaged or was written by another version"
    ) as error:
        render_stored(outcome.page.parent)
    assert "\n" not in str(error.value)


def test_a_folder_of_a_section_cannot_lie_elsewhere(outcome: ReportResult):
    path = outcome.page.parent / FILE
    content = json.loads(path.read_text())
    content["sections"][0]["anchor"] = "../classify"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="is damaged"):
        read_report(outcome.page.parent)


def test_a_folder_that_is_no_run_directory_is_refused_and_stays_as_it_is(tmp_path: Path):
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UserError, match=r"is not the run directory of a report: it has no report\.json"):
            render_stored(path)
    assert not list(tmp_path.iterdir())


def test_a_report_of_several_analyses_starts_with_the_numbers_that_they_name(outcome: ReportResult):
    assert outcome.contents.headlines == [
        ("classify", "accuracy"),
        ("classify", "expected_calibration_error"),
    ]
    keys = [key for _, key, _ in headline_numbers(outcome.contents)]
    assert keys == ["accuracy", "expected_calibration_error"]


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_headlines_are_snake_case_keys_or_their_beginning(name: str):
    keys = [key.removesuffix("_*") for key in find(name).headlines]
    assert all(key.isidentifier() and key.islower() for key in keys)
