"""Every page runs without an exception, on a small model; what a browser alone shows is tested in tests/browser."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from probe.paths import APPS
from tests.dashboard.test_jobs import wait

PAGES = sorted(path.stem for path in (APPS / "views").glob("*.py") if path.stem != "__init__")


def open_page(name: str, **query: str) -> AppTest:
    page = AppTest.from_file(APPS / "views" / f"{name}.py", default_timeout=60)
    page.query_params["model"] = "lenet5-digits"
    for key, value in query.items():
        page.query_params[key] = value
    return page.run()


def finish_jobs(page: AppTest) -> AppTest:
    from apps.session import jobs

    for job in jobs().active():
        wait(job, 60)
    return page.run()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PROBE_DASHBOARD_OUT", str(tmp_path))
    monkeypatch.syspath_prepend(str(APPS.parent))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_every_page_opens(name: str):
    page = finish_jobs(open_page(name))
    assert not page.exception
    assert page.title


@pytest.mark.slow
def test_an_unknown_model_in_the_address_is_the_default():
    page = open_page("overview", model="../../etc")
    assert not page.exception
    assert page.selectbox(key="model").value == "vgg-shapes"


@pytest.mark.slow
def test_an_analysis_runs_in_the_background_and_its_run_is_listed(folder: Path):
    page = finish_jobs(open_page("overview"))
    next(button for button in page.button if button.label == "Run").click().run()
    page = finish_jobs(page)
    assert not page.exception
    assert [path.name for path in folder.glob("classify-*/report.html")] == ["report.html"]
    assert any("accuracy" in metric.label for metric in page.metric)
    runs = open_page("runs")
    assert not runs.exception
    assert runs.selectbox(key="run").value.startswith("classify-lenet5-digits")


@pytest.mark.slow
def test_selected_images_are_images_to_choose():
    from apps.session import Choice, prepared_images, save_selection, selections

    choice = Choice("lenet5-digits", "digits", 40, 0)
    name = save_selection(choice, [7, 3, 11])
    assert save_selection(choice, [7, 3, 11]) == name
    chosen = prepared_images("lenet5-digits", name, 500, 0)
    assert list(chosen.ids) == [choice.images.ids[i] for i in (7, 3, 11)]
    inner = save_selection(Choice("lenet5-digits", name, 500, 0), [1])
    assert inner.startswith("selection 2 of digits (1)")
    assert list(prepared_images("lenet5-digits", inner, 500, 0).ids) == [choice.images.ids[3]]
    assert name in open_page("overview").selectbox(key="data").options
    selections().clear()


@pytest.mark.slow
def test_a_damaged_run_is_one_line(folder: Path):
    (folder / "broken").mkdir()
    (folder / "broken" / "report.json").write_text("{")
    page = open_page("runs")
    assert not page.exception
    assert "is damaged or was written by another version" in page.error[0].value.replace("\\", "")


@pytest.mark.slow
def test_an_attack_changes_the_image_at_another_eps():
    page = open_page("adversarial", attack="pgd")
    before = page.markdown[0].value
    page.slider(key="eps").set_value(64.0).run()
    assert not page.exception
    texts = " ".join(entry.value for entry in page.markdown).replace("\\", "")
    assert "fooled: " in texts.lower()
    assert before != texts
