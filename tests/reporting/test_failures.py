"""The failure gallery of a report: which exhibits it shows, where, and what it says where there are none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from probe.analyses import catalogue, find
from probe.exhibits.exhibits import Exhibit, ImageGrid, Table
from probe.exhibits.result import Result
from probe.reporting.document import Report, Section
from probe.reporting.failures import failure_gallery
from probe.reporting.html import render
from probe.reporting.pdf import write_pdf
from tests.reporting.examples import Page
from tests.reporting.test_pdf import pages

TABLE = Table(title="Layers", caption="One.", columns=["a"], rows=[["x"]])
WRONG = ImageGrid(
    title="Wrong", caption="Two wrong ones.", images=[np.full((9, 9, 3), 0.5, np.float32)] * 2, failures=True
)


def section(name: str, *exhibits: Exhibit, failures: str = "", **changed: object) -> Section:
    made = Section(
        anchor=name, title=name.title(), source="", question="", parameters={}, result=Result(exhibits=list(exhibits)), failures=failures,
    )  # fmt: skip
    return replace(made, **changed)


def report(*sections: Section) -> Report:
    return Report(title="A report", model={}, data={}, sections=list(sections), provenance={"seed": 0})


TWO = report(section("classify", TABLE, WRONG, failures="misclassified images"), section("layers", TABLE))


def test_images_of_failures_stand_between_the_analyses_and_the_provenance_and_nowhere_else():
    text = render(TWO)
    order = [text.index(f'<section id="{name}"') for name in ("layers", "failure-gallery", "provenance")]
    assert order == sorted(order)
    (image,) = Page(text).named("img")
    assert order[1] < text.index("<img") < order[2]
    assert image["alt"] == "Wrong. Two wrong ones."
    assert text.count('id="classify-02-wrong"') == 1
    words = " ".join(Page(text).text.split())
    assert "1.2Wrong in the failure gallery" in words
    assert "1.2Wrong# From Classify" in words
    assert [a["href"] for a in Page(text).named("a")][:6] == [
        "#top", "#top", "#classify", "#layers", "#failure-gallery", "#provenance",
    ]  # fmt: skip


def test_a_report_of_one_analysis_shows_them_in_its_section():
    alone = report(TWO.sections[0])
    assert failure_gallery(alone) is None
    assert "Failure gallery" not in render(alone)
    assert len(Page(render(alone)).named("img")) == 1


def test_it_says_which_analyses_have_none_to_show():
    none = section("classify", TABLE, failures="misclassified images")
    failed = section("robustness", failures="fooled images", result=None, error="It broke.")
    gallery = failure_gallery(report(none, failed))
    assert gallery is not None
    assert gallery.notes == [
        "Classify shows no misclassified images.",
        "Robustness has no result, so its fooled images are missing here.",
    ]
    assert "Classify shows no misclassified images." in Page(render(report(none, failed))).text
    unlabelled = replace(report(none, failed), data={"annotations": "none"})
    gallery = failure_gallery(unlabelled)
    assert gallery is not None
    assert gallery.notes[0] == "Classify shows no misclassified images (the images have no labels)."


def test_a_report_whose_analyses_look_for_no_failures_has_none():
    assert failure_gallery(report(section("a", TABLE), section("b", TABLE))) is None


def test_the_pdf_has_it_too(tmp_path: Path):
    write_pdf(tmp_path / "a.pdf", TWO)
    *_, gallery, provenance = pages(tmp_path / "a.pdf")
    assert "Failure gallery" in gallery
    assert "From Classify" in gallery
    assert "Two wrong ones." in gallery
    assert "Provenance" in provenance
    earlier = " ".join(" ".join(pages(tmp_path / "a.pdf")[:-2]).split())
    assert "Shown in the failure gallery." in earlier
    assert "Two wrong ones." not in earlier


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_what_an_analysis_looks_for_completes_a_sentence(name: str):
    failures = find(name).failures
    assert failures == failures.strip(". ")
    assert failures[:1] == failures[:1].lower()
