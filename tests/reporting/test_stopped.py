"""A report that a signal stops shows what is finished, says what is missing, and continues."""

import json
from pathlib import Path

import pytest

from probe import interrupts
from probe.analyses.analysis import Analysis
from probe.analyses.inspection.image_statistics import ImageStatistics
from probe.analyses.units.filters import Filters
from probe.data.images import Images
from probe.exhibits.result import Result
from probe.model.model import Model
from probe.reporting.recipes import Recipe
from probe.reporting.report import report
from probe.runs.job import RunJob


class Stops(Analysis):
    """Does the first attempt end by a signal?"""

    name = "stops"
    title = "Stopped once"

    def run(self, model: Model, images: Images, job: RunJob) -> Result:  # pyrefly: ignore[bad-override]
        if signals:
            raise signals.pop()
        return Result(exhibits=[])


signals: list[KeyboardInterrupt] = []


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt(), 130), (interrupts.Terminated(), 143)])
def test_a_stopped_report_shows_what_is_finished_and_names_what_is_missing(
    convnet: Model, noise_images: Images, tmp_path: Path, stop: KeyboardInterrupt, code: int
) -> None:
    recipe = Recipe("Three", (ImageStatistics(), Stops(), Filters()))
    signals.append(stop)
    with pytest.raises(type(stop)) as raised:
        report(convnet, noise_images, recipe, out=tmp_path)
    assert interrupts.exit_code(raised.value) == code
    (page,) = tmp_path.glob("*/report.html")
    assert (
        interrupts.message(raised.value)
        == f"stopped after 1 of 3 analyses, shown in {page}: the same command continues from there"
    )
    text = page.read_text()
    assert '<section id="image-statistics"' in text
    assert text.count("This analysis was interrupted") == 2, "in its section and among the warnings"
    assert text.count("Not run, because the report was stopped earlier") == 2
    facts = json.loads((page.parent / "run.json").read_text())
    assert "stopped" in facts
    assert "finished" not in facts

    outcome = report(convnet, noise_images, recipe, out=tmp_path)
    assert outcome.page == page
    assert outcome.reused == ["image-statistics"]
    assert "No result" not in page.read_text()
    assert not list(page.parent.glob(".part-*"))


def test_a_report_that_is_stopped_in_its_first_analysis_has_no_page(
    convnet: Model, noise_images: Images, tmp_path: Path
) -> None:
    signals.append(KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt) as raised:
        report(convnet, noise_images, Recipe("One", (Stops(),)), out=tmp_path)
    assert interrupts.message(raised.value) == f"interrupted: {interrupts.STOPPED}"
    assert not list(tmp_path.glob("*/report.html"))
