"""Do the numbers of the robustness analysis agree with the attacks, with each other and with closed forms?"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import Field
from torch import Tensor, nn

from probe.data.images import Images
from probe.data.sources import open_images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, ImageGrid, Matrix, Scatter, Table
from probe.exhibits.result import Result
from probe.methods.adversarial.attack import AttackResult, BoundedAttack
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.masking import CHECKS
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.registry import ATTACKS
from probe.model.model import Model
from probe.registry import Entry
from probe.runs.execute import make_analysis, prepare, run
from probe.runs.job import RunJob
from tests.methods.adversarial.victims import digit_images, digits, linear, model_of, reader
from tests.results import the

QUICK: dict[str, Any] = {
    "eps": 0.15,
    "eps_steps": 2,
    "attacks": "noise,fgsm,pgd(steps=10),square(queries=60)",
    "max_images": 60,
    "targets_per_class": 1,
    "minutes": 0.002,
}


@pytest.fixture(scope="module")
def result() -> Result:
    return run("robustness", reader(), digit_images(), **QUICK | {"minutes": 0.006, "max_images": 40})


def accuracies(result: Result) -> dict[str, np.ndarray]:
    return {line.name: line.y for line in the(result, Chart, "Accuracy against").lines}


def test_stronger_attacks_leave_a_lower_accuracy_and_all_together_the_lowest(result: Result) -> None:
    ends = {name: y[-1] for name, y in accuracies(result).items()}
    assert ends["PGD"] <= ends["FGSM"] <= ends["Noise"]
    assert ends["strongest of all attacks"] <= min(ends.values())
    assert ends["strongest of all attacks"] == pytest.approx(result.numbers["accuracy_strongest"].value)
    assert ends["PGD"] == pytest.approx(result.numbers["accuracy_pgd"].value)
    starts = {y[0] for y in accuracies(result).values()}
    assert starts == {result.numbers["accuracy_clean"].value}


def test_iterative_attacks_fool_more_at_a_larger_radius(result: Result) -> None:
    assert (np.diff(accuracies(result)["PGD"]) <= 0.02).all()


def test_the_table_and_the_chart_show_the_same_accuracies(result: Result) -> None:
    table = {row[0]: row for row in the(result, Table, "Comparison").rows}
    for name, y in list(accuracies(result).items())[:4]:
        assert table[name][3] == pytest.approx(y[-1])
        clean, rate = result.numbers["accuracy_clean"].value, table[name][4]
        assert isinstance(rate, float)
        assert clean * (1 - rate) == pytest.approx(y[-1])


def test_an_undefended_network_passes_the_checks(result: Result) -> None:
    checks = the(result, Table, "masking")
    assert [row[0] for row in checks.rows] == list(CHECKS)
    # Noise at the large radius alone may fool all of so few images.
    assert {row[1] for row in checks.rows if row[0] != "large radius fools all images"} == {"PASS"}
    assert result.numbers["failed_checks"].value == 0
    assert result.numbers["failed_checks"].n == len(CHECKS)
    assert result.warnings == []


def test_the_confusion_counts_every_fooled_image_once_and_off_the_diagonal(result: Result) -> None:
    values = the(result, Matrix, "Predictions after").values
    pgd = next(row for row in the(result, Table, "Comparison").rows if row[0] == "PGD")
    fooled = round((result.numbers["accuracy_clean"].value - float(pgd[3] or 0)) * int(pgd[2] or 0))
    assert values.sum() == fooled
    assert np.trace(values) == 0


def test_no_image_is_attacked_towards_its_own_class(result: Result) -> None:
    values = the(result, Matrix, "targeted").values
    assert np.isnan(np.diag(values)).all()
    others = values[~np.eye(len(values), dtype=bool)]
    assert ((others >= 0) & (others <= 1)).all()


def test_a_png_inside_the_ball_stays_inside_and_is_predicted_from_the_file(result: Result) -> None:
    rows = {str(row[0]): row for row in the(result, Table, "compression").rows}
    assert float(rows["PNG, inside the eps ball"][2] or 0) <= 255 * 0.15 + 0.51
    assert float(rows["JPEG 50"][2] or 0) > float(rows["PNG, rounded"][2] or 0)
    assert float(rows["float32"][1] or 0) == 1
    assert float(rows["PNG, inside the eps ball"][1] or 0) > 0.9


def test_the_least_robust_images_are_fooled_as_their_labels_state(result: Result) -> None:
    grid = the(result, ImageGrid, "least robust")
    fooled = 0
    for before, after, label in zip(grid.images[::2], grid.images[1::2], grid.labels[1::2], strict=True):
        eps = float(label.rpartition(" ")[2])
        assert np.abs(after - before).max() == pytest.approx(eps, rel=0.05)
        pair = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2)
        predictions = predict(reader(), pair).argmax(1)
        assert label.startswith(str(int(predictions[1])))
        fooled += int(predictions[0] != predictions[1])
    assert grid.facts["fooled"] == fooled
    assert fooled >= len(grid.images) // 2 - 1
    smallest = grid.labels[1].rpartition(" ")[2]
    assert f"needs {smallest}." in the(result, Scatter, "Margin").caption


def test_a_small_budget_takes_fewer_images_leaves_parts_out_and_says_so() -> None:
    result = run("robustness", reader(), digit_images(), eps=0.15, minutes=0.0007)
    (budget,) = [e for e in result.exhibits if e.title == "Computing budget"]
    n = result.numbers["accuracy_clean"].n
    assert n is not None
    assert 16 <= n < 128
    assert f"{n} images were attacked" in budget.caption
    assert "Not measured because the budget does not suffice: " in budget.caption
    assert not [e for e in result.exhibits if "Minimal L2" in e.title]
    not_run = [row[0] for row in the(result, Table, "masking").rows if row[1] == "NOT RUN"]
    assert not_run
    assert any(str(not_run[0]) in warning and "is not known" in warning for warning in result.warnings)


def test_what_is_spent_on_the_survivors_lowers_the_accuracy_and_is_stated(result: Result) -> None:
    chart = the(result, Chart, "Accuracy against")
    assert "at most" in chart.caption
    assert "forward passes per image were spent" in chart.caption
    assert "survive these attacks" in chart.caption
    assert result.numbers["accuracy_strongest"].label.endswith("at most")
    few = run("robustness", reader(), digit_images(), **QUICK)
    assert result.numbers["accuracy_strongest"].value <= few.numbers["accuracy_strongest"].value


def test_adversarial_images_are_saved_and_read_back_within_their_radius(tmp_path: Path) -> None:
    folder = tmp_path / "saved"
    result = run("robustness", reader(), digit_images(), **QUICK | {"save_adversarials": str(folder)})
    table = the(result, Table, "Saved")
    with np.load(folder / "adversarials.npz") as arrays:
        assert len(arrays["adversarials"]) == table.facts["n"]
        assert table.facts["fooled"] == arrays["fooled"].sum() > 0
        assert table.facts["fooled_png"] >= 0.8 * table.facts["fooled"]
        predictions = predict(reader(), torch.from_numpy(arrays["adversarials"])).argmax(1).numpy()
        assert ((predictions != arrays["labels"]) == arrays["fooled"]).all()
    read = prepare(reader(), open_images(f"folder:{folder / 'images'}", labels="prefix"))
    assert read.labels is not None
    wrong = predict(reader(), read.pixels()).argmax(1) != read.labels
    assert int(wrong.sum()) == table.facts["fooled_png"]
    # Sixteen grey levels of the digits are not levels of 8 bits: what rounding adds is at most half of one.
    assert float(table.facts["largest"]) <= 0.15 + 0.5 / 255 + 1e-6
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    with pytest.raises(UserError, match="choose a new folder"):
        run("robustness", reader(), digit_images(), **QUICK | {"save_adversarials": str(tmp_path / "other")})


def test_the_minimal_radii_are_those_of_the_closed_form_on_a_linear_network() -> None:
    draw = torch.Generator().manual_seed(2)
    weights = torch.randn(2, 64, generator=draw) * 0.3
    pixels = 0.5 + 0.05 * torch.randn(40, 1, 8, 8, generator=draw)
    bias = torch.stack([torch.zeros(()), ((weights[0] - weights[1]) * 0.5).sum()])
    model = linear(weights, bias, (1, 8, 8))
    logits = predict(model, pixels)
    margin = (logits[:, 0] - logits[:, 1]).abs()
    result = run(
        "robustness", model, Images.from_tensor(pixels, logits.argmax(1), classes=("0", "1")), **QUICK
    )
    scatter = the(result, Scatter, "Margin")
    exact = scatter.x / float((weights[0] - weights[1]).abs().sum())
    assert scatter.y == pytest.approx(exact, rel=0.02, abs=2e-4)
    assert sorted(scatter.x) == pytest.approx(sorted(margin.tolist()), abs=1e-4)


class Rounded(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.reader = reader().network

    def forward(self, x: Tensor) -> Tensor:
        return self.reader((x * 6).round() / 6)


def test_a_masked_gradient_fails_checks_and_is_warned_of() -> None:
    settings = QUICK | {"minutes": 0.006, "max_images": 30}
    masked = run("robustness", model_of(Rounded(), (1, 8, 8), 10), digit_images(), **settings)
    checks = the(masked, Table, "masking")
    failed = [row[0] for row in checks.rows if row[1] == "WARN"]
    assert "non-zero gradient" in failed
    assert masked.numbers["failed_checks"].value == len(failed) >= 2
    assert all(any(str(name) in warning for warning in masked.warnings) for name in failed)


def test_without_labels_the_predictions_are_the_classes() -> None:
    result = run("robustness", reader(), digit_images(labelled=False), **{**QUICK, "max_images": 20})
    assert any("no labels" in warning for warning in result.warnings)
    assert result.numbers["accuracy_clean"].value == 1


def test_a_network_that_is_never_correct_is_reported_without_an_attack() -> None:
    network = copy.deepcopy(reader().network)
    pixels, labels = digits()
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    assert len(labels) == len(wrong)
    data = Images.from_tensor(pixels, wrong, classes=tuple(str(i) for i in range(10)))
    result = run("robustness", model_of(network, (1, 8, 8), 10), data, **{**QUICK, "max_images": 20})
    assert result.numbers["accuracy_clean"].value == 0
    verdicts = {row[1] for row in the(result, Table, "masking").rows}
    assert verdicts == {"PASS", "not applicable"}


class Inverse(BoundedAttack):
    """Every pixel moves towards its inverse."""

    name = "inverse"
    title = "Inverse"
    source = "a test"

    strength: float = Field(1.0, gt=0, le=1, description="fraction of eps")

    def perturb(self, model: Model, pixels: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        change = self.strength * self.eps * (0.5 - pixels).sign()
        return AttackResult.single_step((pixels + change).clamp(0, 1))


@pytest.fixture
def _inverse_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if its file lay in the folder of the attacks."""
    entry = Entry("inverse", "Inverse", "", __name__, "Inverse")
    monkeypatch.setitem(ATTACKS.catalogue, "inverse", entry)


@pytest.mark.usefixtures("_inverse_is_listed")
def test_an_attack_that_is_added_is_in_the_curves_and_the_table() -> None:
    attacks = "inverse, inverse(strength=0.5), inverse(eps=0.3), pgd(steps=5)"
    result = run("robustness", reader(), digit_images(), **QUICK | {"attacks": attacks, "max_images": 40})
    names = ["Inverse", "Inverse (strength=0.5)", "Inverse (eps=0.3)", "PGD"]
    lines = {line.name: line for line in the(result, Chart, "Accuracy against").lines}
    assert list(lines) == [*names, "strongest of all attacks"]
    rows = the(result, Table, "Comparison").rows
    assert [row[0] for row in rows[:4]] == names
    assert rows[1][1] == "inverse(eps=0.15, strength=0.5)"
    pixels, labels = digits()
    shown = Images.from_tensor(pixels, labels).take(40, seed=RunJob(0).seed())
    pixels, labels = shown.pixels(), shown.labels
    for k, (name, change) in enumerate(zip(names[:3], (0.15, 0.075, 0.3), strict=True)):
        attacked = (pixels + change * (0.5 - pixels).sign()).clamp(0, 1)
        predictions = predict(reader(), torch.cat([pixels, attacked])).argmax(1).view(2, -1)
        expected = float((predictions == labels).all(0).float().mean())
        assert rows[k][3] == pytest.approx(expected)
        assert lines[name].y[-1] == pytest.approx(expected)
    assert lines["Inverse (eps=0.3)"].x[-1] == pytest.approx(0.3)
    assert lines["Inverse"].x[-1] == pytest.approx(0.15)


def test_an_attack_keeps_the_radius_that_it_is_given() -> None:
    attacks = "fgsm, pgd(eps=0.05, steps=5)"
    result = run("robustness", reader(), digit_images(), **QUICK | {"attacks": attacks, "max_images": 40})
    name = "PGD (eps=0.05, steps=5)"
    (line,) = [line for line in the(result, Chart, "Accuracy against").lines if line.name == name]
    assert line.x.tolist() == pytest.approx([0, 0.025, 0.05])
    assert result.numbers["accuracy_pgd"].value == line.y[-1]
    assert f"under {name}" in [line.name for line in the(result, Chart, "by class").lines]
    changes = {row[0]: row[2] for row in the(result, Table, "compression").rows}
    assert changes["float32"] == pytest.approx(255 * 0.05, abs=1e-4)
    assert float(changes["PNG, inside the eps ball"] or 0) <= 255 * 0.05 + 1e-3


def test_without_pgd_the_last_attack_is_broken_down_and_saved() -> None:
    result = run(
        "robustness", reader(), digit_images(), **QUICK | {"attacks": "noise,fgsm", "max_images": 40}
    )
    assert result.numbers["accuracy_fgsm"].value == pytest.approx(accuracies(result)["FGSM"][-1])
    assert "under FGSM" in [line.name for line in the(result, Chart, "by class").lines]
    assert "pgd" not in " ".join(result.numbers)


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ("pdg", "there is no attack 'pdg'. Did you mean pgd"),
        ("pgd(stepps=3)", "there is no parameter 'stepps'. Did you mean steps"),
        ("pgd(steps=0)", r"steps must lie in \[1, 10000\], got 0"),
        ("pgd(norm=l2, eps=1/2)", "radii here are Linf"),
        ("", "name at least one attack"),
    ],
)
def test_attacks_that_cannot_be_run_are_refused_in_one_line(attacks: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        make_analysis("robustness", attacks=attacks)
    assert "\n" not in str(error.value)
