"""Sweeps: many models on one page, whole analyses on workers, resumable, the same bytes as one after the other."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import probe
from probe.errors import UserError
from probe.exhibits.result import Number
from probe.reporting.recipes import Recipe
from probe.reporting.sweep import expand_models, sweep
from probe.reporting.sweep_exhibits import (
    AgreementFindings,
    CurveFindings,
    SweptModel,
    agreement_caption,
    curve_caption,
    find_outliers,
    outlier_caption,
    sweep_result,
)
from probe.runs.engine import Engine
from probe.runs.execute import make_analysis
from tests.runs.chunky import Chunky


def swept(name: str, value: float, position: float | None = None, classes: Any = None) -> SweptModel:
    return SweptModel(
        name, f"{name}/report.html", position, {"accuracy": Number(value=value)}, classes, "epoch"
    )


@pytest.fixture(scope="module")
def epochs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("training") / "net"
    probe.train("lenet5", "digits", out=out, epochs=3, save_epochs=True, device="cpu")
    return out


def test_patterns_and_folders_stand_for_models_in_the_order_of_their_numbers(epochs: Path) -> None:
    names = [Path(spec).stem for spec in expand_models([epochs / "epochs"])]
    assert names == ["000", "001", "002", "003"]
    assert expand_models([f"{epochs}/epochs/*"]) == expand_models([epochs / "epochs"])
    assert expand_models([epochs, "lenet5-digits"]) == [str(epochs), "lenet5-digits"]
    assert expand_models([epochs.parent]) == [str(epochs)]
    with pytest.raises(UserError, match="names no model"):
        expand_models([epochs / "nothing*"])


def test_a_checkpoint_of_a_training_is_a_model_with_the_card_of_its_network(epochs: Path) -> None:
    first, last = (probe.load(epochs / "epochs" / f"{e:03d}.safetensors", device="cpu") for e in (0, 3))
    assert (first.name, last.name) == ("net epoch 0", "net epoch 3")
    assert last.digest == probe.load(epochs, device="cpu").digest
    assert first.digest != last.digest
    assert first.card.results == {}
    assert first.folder is None


def test_models_are_outliers_beyond_the_fences_of_tukey_alone() -> None:
    models = [swept(f"m{i}", value) for i, value in enumerate([0.9, 0.91, 0.92, 0.93, 0.94, 0.2])]
    assert [(o.model, o.label) for o in find_outliers(models, ["accuracy"])] == [("m5", "accuracy")]
    assert find_outliers(models[:4], ["accuracy"]) == []


def test_captions_of_a_sweep_state_the_findings() -> None:
    curve = CurveFindings("accuracy", 3, ("epoch 0",), "12.5%", ("epoch 9",), "96.0%")
    assert curve_caption(curve) == "Accuracy is highest for epoch 9 (96.0%) and lowest for epoch 0 (12.5%)."
    tied = replace(
        curve, lowest_models=("a", "b", "c", "d"), highest_models=("e", "f"), intervals="black lines"
    )
    assert curve_caption(tied) == (
        "Accuracy is highest for e and f (96.0%) and lowest for 4 models (12.5%). 95% intervals for other images are drawn "
        "as black lines."
    )
    agreement = AgreementFindings("epoch 0", "epoch 1", 0.22, 0.985, 200, 12)
    assert agreement_caption(agreement) == (
        "Consecutive models give the same prediction to 98.5% of 200 images (median); epoch 0 and epoch 1 agree least, on "
        "22.0%."
    )
    assert outlier_caption([], 3, 2) == "With 3 models no outliers can be identified: at least 5 are needed."
    assert outlier_caption([], 6, 2) == "None of the 6 models is an outlier in any of 2 numbers."


def test_names_lose_what_all_of_them_begin_with_and_positions_order_the_models() -> None:
    classes = [np.array([0, 1, 2, 2]), np.array([0, 1, 1, 1]), np.array([0, 1, 1, 2])]
    models = [swept(f"my net epoch {e}", 0.5 + e / 10, e, c) for e, c in zip((2, 0, 1), classes, strict=True)]
    result = sweep_result(models)
    assert result["Numbers of the models"].rows == [  # pyrefly: ignore[missing-attribute]
        ["epoch 0", 0, 0.5],
        ["epoch 1", 1, 0.6],
        ["epoch 2", 2, 0.7],
    ]
    agreement = result["Agreement of consecutive models"]
    assert agreement.lines[0].y.tolist() == [0.75, 0.75]  # pyrefly: ignore[missing-attribute]
    assert result["Agreement of all models"].values[0].tolist() == [1, 0.75, 0.5]  # pyrefly: ignore[missing-attribute]


def test_a_number_that_is_the_same_for_all_models_has_no_curve() -> None:
    models = [swept(name, 0.9) for name in ("a", "b", "c")]
    result = sweep_result(models)
    assert [exhibit.title for exhibit in result.exhibits] == ["Numbers of the models", "Outliers"]
    assert result.exhibits[0].caption.endswith("The same for all models: accuracy.")
    models[1] = swept("b", 0.8)
    result = sweep_result(models)
    assert result.exhibits[2].title == "Accuracy"
    assert "same for all" not in result.exhibits[0].caption
    assert len(sweep_result([swept(name, float("nan")) for name in "ab"]).exhibits) == 2


def contents(folder: Path) -> dict[str, bytes]:
    """The files of all results below a folder, by their paths."""
    files = [*folder.rglob("result.json"), *folder.rglob("arrays.npz")]
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(files)}


@pytest.mark.slow
def test_a_sweep_on_workers_has_the_bytes_of_one_model_after_the_other(epochs: Path, tmp_path: Path) -> None:
    recipe = Recipe("two", (Chunky(), make_analysis("classify")))
    images = probe.images("digits:test", n=20)
    models = [epochs / "epochs", "lenet5-digits"]
    options: dict[str, Any] = {"device": "cpu", "seed": 2}
    plain = sweep(
        models, images, recipe, out=tmp_path / "plain", workers=Engine(name="local", workers=1), **options
    )
    workers = sweep(models, images, recipe, out=tmp_path / "workers", workers=2, **options)
    assert contents(tmp_path / "plain") == contents(tmp_path / "workers")
    assert len(contents(tmp_path / "plain")) == 2 * 2 * 5
    page = workers.page.read_text(encoding="utf-8")
    for report in workers.reports.values():
        assert report.page.is_file()
        assert not report.reused
        assert f'href="{report.page.parent.name}/report.html"' in page
    assert plain.result.numbers["models"].value == 5
    # What is stored is not computed again; what is missing is.
    gone = next((tmp_path / "workers").rglob("chunky"))
    shutil.rmtree(gone)
    again = sweep(models, images, recipe, out=tmp_path / "workers", workers=2, **options)
    assert sum(len(report.reused) for report in again.reports.values()) == 9
    assert contents(tmp_path / "plain") == contents(tmp_path / "workers")


@pytest.mark.slow
def test_an_analysis_that_a_model_refuses_is_skipped_there(epochs: Path, tmp_path: Path) -> None:
    recipe = Recipe("refused", (make_analysis("residual-paths"), make_analysis("filters")))
    result = sweep([epochs], probe.images("digits:test", n=8), recipe, out=tmp_path, device="cpu")
    (report,) = result.reports.values()
    assert list(report.skipped) == ["residual-paths"]


@pytest.mark.parametrize(
    ("over", "message"), [("training.lr", "no field training.lr"), ("name", "is not a number")]
)
def test_a_field_that_no_card_has_is_named(over: str, message: str, epochs: Path, tmp_path: Path) -> None:
    recipe = Recipe("filters", (make_analysis("filters"),))
    with pytest.raises(UserError, match=re.escape(message)):
        sweep([epochs], probe.images("digits:test", n=4), recipe, out=tmp_path, device="cpu", over=over)
