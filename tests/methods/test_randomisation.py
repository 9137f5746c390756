"""Does the randomisation test forget what was learnt, leave the subject alone, and tell edges from reasons?"""

import numpy as np
import pytest
import torch
from torch import nn

from probe.methods.explainers import EDGES, METHODS, Settings
from probe.methods.randomisation import (
    FAILS,
    duplicate,
    forgetful,
    likeness,
    memory_test,
    shuffle,
    stages,
    verdict,
)
from probe.subject.cards import Card, Input
from probe.subject.subject import Subject
from probe.zoo import build


def subject_of(network: nn.Module, side: int = 16) -> Subject:
    card = Card(
        name="small",
        architecture="file.py:small",
        classes=("a", "b", "c"),
        input=Input(shape=(3, side, side), mean=(0.5,) * 3, std=(0.25,) * 3, fit=""),
    )
    return Subject(network, card)


def convnet() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * 64, 3),
        )


def images(n: int = 4) -> torch.Tensor:
    return torch.rand(n, 3, 16, 16, generator=torch.Generator().manual_seed(3))


def test_the_stages_go_from_the_last_layer_to_the_first_with_each_norm_beside_its_convolution():
    subject = subject_of(convnet())
    assert stages(subject, 10) == [["8"], ["4", "5"], ["0", "1"]]
    assert stages(subject, 2) == [["8", "4", "5"], ["0", "1"]]
    with torch.random.fork_rng(devices=[]):
        deep = subject_of(build("resnet20", classes=3), 32)
    groups = stages(deep, 6)
    assert len(groups) == 6
    assert groups[0][0] == "linear"
    assert groups[-1][-2:] == ["conv1", "bn1"]
    owners = {
        name for name, m in deep.network.named_modules() if any(True for _ in m.parameters(recurse=False))
    }
    flat = [name for names in groups for name in names]
    assert set(flat) == owners
    assert len(flat) == len(owners)


def test_a_shuffled_layer_holds_the_same_values_in_another_order():
    subject = subject_of(convnet())
    other = duplicate(subject)
    shuffle(other, ["4"], images(), torch.Generator().manual_seed(0))
    before, after = subject.network.state_dict(), other.network.state_dict()
    assert not torch.equal(before["4.weight"], after["4.weight"])
    assert torch.equal(before["4.weight"].flatten().sort().values, after["4.weight"].flatten().sort().values)
    untouched = [name for name in before if name.startswith(("0.", "8.")) or name == "5.weight"]
    assert all(torch.equal(before[name], after[name]) for name in untouched)


def test_forgetting_leaves_the_subject_as_it_was():
    subject = subject_of(convnet())
    before = {name: value.clone() for name, value in subject.network.state_dict().items()}
    state, digest = torch.get_rng_state(), subject.digest
    other = forgetful(subject, images(), torch.Generator().manual_seed(0))
    after = subject.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(module.training for module in subject.network.modules())
    assert torch.equal(state, torch.get_rng_state())
    assert subject.digest == digest != other.digest
    assert not any(module.training for module in other.network.modules())


def test_batch_norm_measures_its_statistics_anew_so_that_a_deep_network_does_not_explode():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = subject_of(build("resnet56", classes=3), 32)
    pixels = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    other = forgetful(subject, pixels, torch.Generator().manual_seed(0))
    logits = other.logits(pixels)
    assert torch.isfinite(logits).all()
    assert 1e-3 < logits.std() < 1e3


def test_likeness_is_spearmans_correlation():
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 9, (2, 3, 5, 5)).astype(np.float32)
    wanted = [spearmanr(one.ravel(), other.ravel()).statistic for one, other in zip(a, b, strict=True)]
    np.testing.assert_allclose(likeness(torch.from_numpy(a), torch.from_numpy(b)), wanted, atol=1e-6)


def test_a_flat_map_is_like_no_other():
    assert likeness(torch.zeros(1, 4, 4), torch.rand(1, 4, 4, generator=torch.Generator()))[0] == 0


def test_edges_fail_the_test_and_what_hangs_on_the_weights_passes():
    subject = subject_of(convnet())
    classes = torch.tensor([0, 1, 2, 0])
    maps = {
        "integrated_gradients": METHODS["integrated_gradients"].map(subject, images(), classes, Settings())
    }
    alike = memory_test(maps, subject, images(), classes, Settings(), seed=0)
    assert alike["integrated_gradients"] < FAILS
    again = memory_test(maps, subject, images(), classes, Settings(), seed=0)
    assert alike == again
    edges = EDGES.map(subject, images(), classes, Settings())
    other = forgetful(subject, images(), torch.Generator().manual_seed(0))
    assert likeness(edges, EDGES.map(other, images(), classes, Settings())) == pytest.approx(1)


def test_the_verdict_says_what_was_measured():
    assert "fails the randomisation test" in verdict("Guided backprop", 0.83)
    assert "stay 0.83 alike" in verdict("Guided backprop", 0.83)
    assert "passes the randomisation test" in verdict("Grad-CAM", 0.1)


def test_maps_without_any_gradient_pass_nothing():
    network = nn.Sequential(nn.Threshold(2.0, 0.0), convnet())
    subject, classes = subject_of(network), torch.tensor([0, 1, 2, 0])
    maps = {"gradient": METHODS["gradient"].map(subject, images(), classes, Settings())}
    assert not maps["gradient"].any()
    alike = memory_test(maps, subject, images(), classes, Settings(), seed=0)
    assert "says nothing" in verdict("Gradient", alike["gradient"])
