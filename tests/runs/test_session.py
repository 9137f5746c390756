"""In one Python session: interrupted runs continue, networks are clean, run directories give their results back."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import probe
from probe.analyses.analysis import Analysis
from probe.analyses.job import Job, joined
from probe.errors import Interrupted, UserError
from probe.exhibits.exhibits import Table
from probe.exhibits.result import Number, Result
from probe.reporting.recipes import Recipe
from probe.reporting.report import report
from probe.runs.execute import make_analysis
from probe.runs.progress import NotebookDisplay

computed: list[int] = []
stop_at: list[int] = []


class Slow(Analysis):
    """Is the sum of the chunks the same after an interruption?"""

    name, title, source = "slow", "Slow", "this test"

    def run(self, model: Any, images: Any, job: Job) -> Result:
        def compute(item: int, rng: torch.Generator) -> dict[str, np.ndarray]:
            model.logits(images.pixels()[:2])
            if item in stop_at:
                raise KeyboardInterrupt
            computed.append(item)
            return {"sum": torch.rand(1, generator=rng).numpy()}

        chunks = joined(job.chunks("part", list(range(5)), compute))
        table = Table(title="t", caption="c", columns=["a"], rows=[[1]])
        return Result(exhibits=[table], numbers={"sum": Number(value=float(chunks["sum"].sum()))})


@pytest.fixture(autouse=True)
def fresh() -> None:
    computed.clear()
    stop_at.clear()


def test_an_interrupted_run_continues_from_its_finished_parts_and_the_network_is_clean(
    convnet: probe.Model, noise_images: probe.Images
) -> None:
    whole = probe.run(Slow(), convnet, noise_images).numbers["sum"]
    computed.clear()
    stop_at.append(3)
    hooks = [len(module._forward_hooks) for module in convnet.network.modules()]
    with pytest.raises(
        Interrupted, match="slow was interrupted: 3 finished parts kept, the same call"
    ) as stop:
        probe.run(Slow(), convnet, noise_images)
    assert len(stop.value._render_traceback_()) <= 3
    assert [len(module._forward_hooks) for module in convnet.network.modules()] == hooks
    stop_at.clear()
    assert probe.run(Slow(), convnet, noise_images).numbers["sum"] == whole
    assert computed == [0, 1, 2, 3, 4], "each part is computed once"
    computed.clear()
    probe.run(Slow(), convnet, noise_images)
    assert computed == [0, 1, 2, 3, 4], "nothing of a complete run is kept"


def test_parts_of_another_call_are_not_taken(convnet: probe.Model, noise_images: probe.Images) -> None:
    stop_at.append(3)
    with pytest.raises(KeyboardInterrupt):
        probe.run(Slow(), convnet, noise_images)
    stop_at.clear()
    computed.clear()
    probe.run(Slow(), convnet, noise_images, seed=1)
    assert computed == [0, 1, 2, 3, 4]


def test_a_run_directory_gives_its_results_back(
    convnet: probe.Model, noise_images: probe.Images, tmp_path: Path
) -> None:
    plan = Recipe("two", (make_analysis("classify"), make_analysis("filters")))
    outcome = report(convnet, noise_images, plan, out=tmp_path)
    assert repr(outcome).endswith("report.html', 2 results)")
    opened = probe.open_run(outcome.page)
    assert list(opened) == ["classify", "filters"]
    assert opened["classify"].numbers == outcome.results["classify"].numbers
    assert opened["classify"].title == "Classification"
    assert opened["filters"].titles == outcome.results["filters"].titles
    assert opened.facts["model"]["name"] == "convnet"
    assert "2 results: classify, filters" in repr(opened)
    with pytest.raises(UserError, match="Did you mean classify"):
        opened["clasify"]

    folder = outcome.page.parent
    (folder / "filters" / "result.json").write_text("{}")
    damaged = probe.open_run(folder)
    assert damaged.damaged == ["filters"]
    with pytest.raises(UserError, match="is damaged: repeat the command of the run"):
        damaged["filters"]

    facts = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(UserError, match=r"was written by probe .* in format 99, this version reads format 1"):
        probe.open_run(folder)
    (folder / "run.json").unlink()  # as a killed run leaves it
    assert list(probe.open_run(folder)) == ["classify"]


def test_what_is_no_run_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no run directory"):
        probe.open_run(tmp_path / "nothing")
    with pytest.raises(UserError, match="contains no results of probe"):
        probe.open_run(tmp_path)


def test_progress_in_a_notebook_is_one_output_that_changes_at_most_four_times_a_second_and_is_emptied() -> (
    None
):
    now, shown = [0.0], []
    display = NotebookDisplay(shown.append, clock=lambda: now[0])
    display.section("robustness")
    loop = display.start("<attacks>", 1000)
    for _ in range(1000):
        now[0] += 0.01
        display.advance(loop)
    display.finish(loop)
    display.close()
    assert 30 <= len(shown) <= 42
    assert 'max="1000"' in shown[0]
    assert "&lt;attacks&gt;" in shown[0]
    assert "left" in shown[0]
    assert shown[-1] == ""


def test_a_short_run_shows_no_progress() -> None:
    shown: list[str] = []
    display = NotebookDisplay(shown.append, clock=lambda: 0.0)
    display.advance(display.start("a", 2))
    display.close()
    assert shown == []
