"""Do the numbers of the robustness report agree with the attacks, with each other and with what is known?"""

import copy
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Exhibit, ImageGrid, Matrix, Scatter, Table
from probe.exhibits.result import Result
from probe.methods.adversarial.criteria import predict
from probe.runs.execute import run
from tests.methods.adversarial.victims import digits, linear, model_of, reader

E = TypeVar("E", bound=Exhibit)
QUICK = {"eps": 0.15, "points": 2, "steps": 10, "queries": 60, "at_most": 60, "per_class": 1}


def images(*, labelled: bool = True) -> Images:
    pixels, labels = digits()
    classes = tuple(str(i) for i in range(10))
    return Images.from_tensor(pixels, labels if labelled else None, classes=classes, name="digits")


@pytest.fixture(scope="module")
def result() -> Result:
    return run("robustness", reader(), images(), **QUICK)


def the(result: Result, kind: type[E], title: str) -> E:
    (found,) = [e for e in result.exhibits if isinstance(e, kind) and title in e.title]
    return found


def test_stronger_attacks_leave_less_and_the_worst_of_all_least(result: Result) -> None:
    ends = {line.name: line.y[-1] for line in the(result, Chart, "Accuracy against").lines}
    assert ends["PGD"] <= ends["FGSM, one step"] <= ends["random signs"]
    assert ends["worst of all"] <= min(ends.values())
    assert ends["worst of all"] == pytest.approx(result.numbers["accuracy under the worst attack"].value)
    starts = {line.y[0] for line in the(result, Chart, "Accuracy against").lines}
    assert starts == {result.numbers["clean accuracy"].value}


def test_iterative_attacks_fool_more_at_a_larger_radius(result: Result) -> None:
    (line,) = [line for line in the(result, Chart, "Accuracy against").lines if line.name == "PGD"]
    assert (np.diff(line.y) <= 0.02).all()


def test_the_table_and_the_chart_say_the_same(result: Result) -> None:
    table, chart = the(result, Table, "side by side"), the(result, Chart, "Accuracy against")
    accuracy = {str(row[0]).split(",")[0]: row[2] for row in table.rows}
    for line in chart.lines[:4]:
        assert accuracy[line.name.split(",")[0]] == pytest.approx(line.y[-1])


def test_a_plain_network_passes_the_checklist(result: Result) -> None:
    checks = the(result, Table, "masked")
    assert len(checks.rows) == 8
    assert {row[1] for row in checks.rows} == {"PASS"}
    assert all(row[2] for row in checks.rows)
    assert result.numbers["signs of masking"].value == 0
    assert result.warnings == []


def test_the_flow_counts_every_fooled_image_once_and_off_the_diagonal(result: Result) -> None:
    flow = the(result, Matrix, "Where the answers go").values
    pgd = next(row for row in the(result, Table, "side by side").rows if str(row[0]).startswith("PGD"))
    fooled = round((result.numbers["clean accuracy"].value - float(pgd[2] or 0)) * int(pgd[1] or 0))
    assert flow.sum() == fooled
    assert np.trace(flow) == 0


def test_no_image_is_led_to_its_own_class(result: Result) -> None:
    values = the(result, Matrix, "chosen class").values
    assert np.isnan(np.diag(values)).all()
    others = values[~np.eye(len(values), dtype=bool)]
    assert ((others >= 0) & (others <= 1)).all()


def test_a_png_inside_the_ball_stays_inside_and_is_judged_from_the_file(result: Result) -> None:
    rows = {str(row[0]): row for row in the(result, Table, "file").rows}
    assert float(rows["PNG, inside the ball"][2] or 0) <= 255 * 0.15 + 0.51
    assert float(rows["JPEG 50"][2] or 0) > float(rows["PNG, rounded"][2] or 0)
    assert float(rows["floats"][1] or 0) == 1
    assert float(rows["PNG, inside the ball"][1] or 0) > 0.9


def test_the_fragile_images_are_fooled_as_their_labels_say(result: Result) -> None:
    shown = the(result, ImageGrid, "fragile")
    turned = 0
    for before, after, label in zip(shown.images[::2], shown.images[1::2], shown.labels[1::2], strict=True):
        eps = float(label.rpartition(" ")[2])
        assert np.abs(after - before).max() <= eps + 1e-4
        pair = torch.from_numpy(np.stack([before, after])).permute(0, 3, 1, 2)
        said = predict(reader(), pair).argmax(1)
        assert label.startswith(str(int(said[1])))
        turned += int(said[0] != said[1])
    assert shown.caption.startswith((f"All {turned} images", f"{turned} of the 6 images"))
    assert turned >= len(shown.images) // 2 - 1


def test_the_least_radii_are_those_of_the_closed_form_on_a_linear_network() -> None:
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
    def forward(self, x: Tensor) -> Tensor:
        return reader().network((x * 6).round() / 6)


def test_a_masked_gradient_is_said_in_the_warnings() -> None:
    masked = run("robustness", model_of(Rounded(), (1, 8, 8), 10), images(), **QUICK)
    assert masked.numbers["signs of masking"].value >= 2
    assert any("non-zero gradient" in warning for warning in masked.warnings)


def test_without_labels_it_says_so() -> None:
    result = run("robustness", reader(), images(labelled=False), **{**QUICK, "at_most": 20})
    assert any("own predictions" in warning for warning in result.warnings)
    assert result.numbers["clean accuracy"].value == 1


def test_a_network_that_is_never_right_is_reported_without_an_attack() -> None:
    network = copy.deepcopy(reader().network)
    pixels, labels = digits()
    wrong = (predict(reader(), pixels).argmax(1) + 1) % 10
    assert len(labels) == len(wrong)
    data = Images.from_tensor(pixels, wrong, classes=tuple(str(i) for i in range(10)))
    result = run("robustness", model_of(network, (1, 8, 8), 10), data, **{**QUICK, "at_most": 20})
    assert result.numbers["clean accuracy"].value == 0
    assert {row[1] for row in the(result, Table, "masked").rows} == {"PASS", "not applicable"}
