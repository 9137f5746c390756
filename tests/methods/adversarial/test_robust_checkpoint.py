"""Networks on real images are as robust, or as fragile, as their cards and the papers say. Needs the data on the disk."""

import os
from pathlib import Path

import pytest
import torch

from probe.data.sources import open_images
from probe.methods.adversarial.criteria import predict
from probe.methods.adversarial.evaluate import Evaluation, evaluate, joined
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from probe.model.importing import AdoptOptions, adopt
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.execute import prepare

ROOT = Path(os.environ.get("PROBE_DATA", "nowhere"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / "mnist").is_dir(), reason="MNIST is not under PROBE_DATA"),
]
ROBUST = "strided-convnet-mnist-robust"


def attacked(
    model: Model, data: str, n: int, *, eps: float, steps: int, step: float | None = None
) -> Evaluation:
    """PGD from a random start on `n` test images, drawn evenly over the classes."""
    images = prepare(model, open_images(data)).take(n, seed=0)
    parts = []
    for batch in images.batches(100):
        assert batch.labels is not None
        parts.append(
            evaluate(
                model, batch.pixels, batch.labels, PGD(eps=eps, steps=steps, step=step), ids=batch.positions
            )
        )
    return joined(parts)


def test_the_robust_network_is_as_robust_as_its_card_says() -> None:
    model = load(ROBUST, device="cpu")
    # Steps of one length, as published figures have them.
    evaluation = attacked(model, "mnist:test", 500, eps=0.3, steps=40, step=2.5 * 0.3 / 40)
    assert float(evaluation.correct.float().mean()) >= 0.98
    assert evaluation.accuracy >= 0.88
    assert evaluation.linf.max() <= 0.3 + 1e-6
    results = model.card.results
    assert results["test_accuracy"] >= 0.98
    assert results["robust_accuracy"] >= 0.88
    assert evaluation.accuracy == pytest.approx(results["robust_accuracy"], abs=0.03)


def test_the_plain_network_is_fooled_where_the_robust_one_is_not() -> None:
    assert attacked(load("lenet5-mnist", device="cpu"), "mnist:test", 200, eps=0.3, steps=40).accuracy <= 0.01


def test_accuracy_of_lenet5_under_fgsm_falls_with_eps() -> None:
    """Beside the published .98, .94, .85, .68, .43, .21, .09 of another LeNet: this one, with tanh, falls earlier."""
    model = load("lenet5-mnist", device="cpu")
    images = prepare(model, open_images("mnist:test")).take(1000, seed=0)
    pixels, labels = images.pixels(), images.labels
    assert labels is not None
    accuracy = [
        float((predict(model, FGSM(eps=e)(model, pixels, labels).pixels).argmax(1) == labels).float().mean())
        for e in (0.0, 0.05, 0.1)
    ]
    assert accuracy[0] >= 0.985
    assert accuracy[0] > accuracy[1] + 0.3 > accuracy[2] + 0.5


@pytest.mark.skipif(not (ROOT / "cifar10" / "checkpoints").is_dir(), reason="no CIFAR-10 checkpoints here")
def test_an_adopted_resnet56_keeps_under_two_per_cent_against_twenty_steps_of_eight_grey_levels(
    tmp_path: Path,
) -> None:
    (checkpoint,) = (ROOT / "cifar10" / "checkpoints").glob("resnet56*.th")
    names = tmp_path / "classes.txt"
    names.write_text("airplane automobile bird cat deer dog frog horse ship truck".replace(" ", "\n"))
    model = adopt(
        checkpoint, AdoptOptions(arch="zoo:resnet56", size=32, classes=names), tmp_path / "resnet56"
    )
    evaluation = attacked(model, "cifar10:test", 100, eps=8 / 255, steps=20)
    assert float(evaluation.correct.float().mean()) > 0.75
    assert evaluation.accuracy < 0.02
    torch.testing.assert_close(evaluation.linf.max(), torch.tensor(8 / 255), atol=1e-6, rtol=0)
