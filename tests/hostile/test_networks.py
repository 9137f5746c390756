"""Every analysis on networks of the odd kinds: it works, warns or gives one clear line, and leaves nothing behind."""

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from probe.data.images import Images, no_images
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.methods.adversarial.gradient_attacks import PGD
from probe.methods.attribution.gradients import Gradient
from probe.methods.attribution.relu_rules import backpropagate
from probe.model.importing import AdoptOptions, adopt
from probe.model.input_size import stem_channels
from probe.model.loading import build, load
from probe.model.model import Model
from probe.model.observer import scripted_parts
from probe.runs.execute import execute, prepare
from probe.runs.job import RunJob
from tests.conftest import model_of
from tests.contract.test_every_analysis import NAMES, assert_sound, chosen, random_state, state
from tests.hostile.networks import CLASSES, KINDS, layers, network

BY_BATCH = ("batch norm forced to train", "functional batch norm in training")
RANDOM = ("functional dropout in training",)
REFUSED = {
    "needs a batch": r"net cannot process a single image .*\(Expected more than 1 value",
    "two heads": r"net returns a tuple with 2 tensors of 4 numbers per image, \[0\] and \[1\]",
}
SOMETIMES = {
    "no_grad": "net has no gradient with respect to the pixels",
    "half inside": "net converts to half precision internally, but the loss around its weights has to be computed in float32",
    "script inside": "the first convolution of net, body.0, does not read the image itself",
}
COMPUTED = ("weight_norm", "spectral_norm", "orthogonal", "old weight_norm", "old spectral_norm", "pruned")


@pytest.fixture(scope="module")
def images() -> Images:
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (12, 3, 32, 32), dtype=torch.uint8, generator=draw)
    masks = torch.zeros(12, 32, 32, dtype=torch.bool)
    masks[:, 8:20, 10:24] = True
    names = tuple(f"class {index}" for index in range(CLASSES))
    return Images.from_tensor(pixels, torch.arange(12) % CLASSES, classes=names, name="noise", masks=masks)


def model(kind: str) -> Model:
    return model_of(network(kind), (3, 32, 32), CLASSES, "net")


def run(name: str, subject: Model, images: Images) -> Result:
    job = RunJob(5, compare_to=[model_of(network("tuple"), (3, 32, 32), CLASSES, "other")] * 2)
    return execute(chosen(name), subject, prepare(subject, images), job)


def cases() -> Iterator[tuple[str, str]]:
    """A fifth of the pairs of a network and an analysis, each of both several times; all if PROBE_HOSTILE is set."""
    for i, kind in enumerate(KINDS):
        for k, name in enumerate(NAMES):
            if (i + k) % 5 == 0 or os.environ.get("PROBE_HOSTILE"):
                yield kind, name


@pytest.mark.parametrize(("kind", "name"), list(cases()))
def test_an_analysis_of_an_odd_network(kind: str, name: str, images: Images) -> None:
    subject = model(kind)
    before = state(subject), random_state(), dict(os.environ), list(warnings.filters)
    try:
        result = run(name, subject, images)
    except UserError as error:
        text = str(error)
        assert "\n" not in text
        if name == "residual-paths" and kind not in REFUSED and kind != "half inside":
            assert "has no residual blocks" in text
        elif kind in REFUSED or kind in SOMETIMES:
            with pytest.raises(UserError, match=(REFUSED | SOMETIMES)[kind]):
                raise
        else:
            assert text.startswith("no image of noise is classified correctly by all of")
    else:
        assert kind not in REFUSED or not chosen(name).uses_predictions
        assert_sound(result)
        unreliable = [line for line in result.warnings if "although it is in evaluation mode" in line]
        expected = kind in (*BY_BATCH, *RANDOM) and chosen(name).uses_predictions
        assert len(unreliable) == expected
        if unreliable:
            assert ("depend on random draws" in unreliable[0]) == (kind in RANDOM)
    assert (state(subject), random_state(), dict(os.environ), list(warnings.filters)) == before


def test_dropout_that_stays_on_gives_the_same_result_for_the_same_seed(images: Images) -> None:
    first, second = (run("fgsm", model(RANDOM[0]), images) for _ in range(2))
    assert first.numbers == second.numbers


@pytest.mark.parametrize("kind", COMPUTED)
def test_computed_weights_are_written_out_and_the_network_of_the_caller_keeps_them(kind: str) -> None:
    own = network(kind).eval()
    pixels = torch.rand(2, 3, 32, 32)
    expected = own((pixels - 0.5) / 0.5)
    keys = list(own.state_dict())
    subject = model_of(own, (3, 32, 32), CLASSES)
    assert torch.allclose(subject.logits(pixels), expected, atol=1e-6)
    assert [layer.kind for layer in subject.layers].count("Conv2d") == 2
    assert set(subject.network.state_dict()) == set(nn.Sequential(*layers()).state_dict())
    assert list(own.state_dict()) == keys
    assert torch.allclose(own((pixels - 0.5) / 0.5), expected)


def test_a_parametrisation_that_draws_is_kept() -> None:
    class Noise(nn.Module):
        def forward(self, weight: torch.Tensor) -> torch.Tensor:
            return weight + 0.1 * torch.randn_like(weight)

    own = nn.Sequential(*layers())
    nn.utils.parametrize.register_parametrization(own[0], "weight", Noise())
    subject = model_of(own, (3, 32, 32), CLASSES)
    assert subject.consistency.random


@pytest.mark.parametrize("kind", list(KINDS))
def test_an_adopted_network_is_the_constructed_one(
    kind: str, images: Images, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "source.py").write_text(
        f"from tests.hostile.networks import network\ndef make(): return network({kind!r})\n"
    )
    torch.save(network(kind).state_dict(), tmp_path / "net.pth")
    options = AdoptOptions(
        arch=f"{tmp_path / 'source.py'}:make", size=32, mean=(0.5,) * 3, std=(0.5,) * 3, name="net"
    )
    if kind in REFUSED:
        with pytest.raises(UserError, match=REFUSED[kind].replace("net ", ".* ")):
            adopt(tmp_path / "net.pth", options, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return
    adopt(tmp_path / "net.pth", options, tmp_path / "out")
    pixels = images.pixels()
    torch.manual_seed(0)
    expected = model(kind).logits(pixels)
    torch.manual_seed(0)
    assert torch.allclose(load(tmp_path / "out", device="cpu").logits(pixels), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["half", "bfloat16", "float64", "half inside"])
def test_pixels_and_logits_are_float32_whatever_the_network_computes_in(kind: str) -> None:
    subject = model(kind)
    pixels = torch.rand(2, 3, 32, 32)
    assert subject.logits(pixels).dtype == torch.float32
    assert all(v.dtype == torch.float32 for v in subject.features(pixels, subject.layers[0].address).values())
    if kind in ("half", "float64"):
        plain = model_of(network(kind).float(), (3, 32, 32), CLASSES)
        assert torch.allclose(subject.logits(pixels), plain.logits(pixels), atol=5e-3)
    assert not subject.consistency.by_batch
    assert not subject.consistency.random


def test_relu_rules_reach_through_a_script() -> None:
    scripted = network("script inside")
    plain = nn.Sequential(*layers())
    plain.load_state_dict(dict(zip(plain.state_dict(), scripted.state_dict().values(), strict=True)))
    pixels, classes = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    ours, theirs = (
        backpropagate(model_of(each, (3, 32, 32), CLASSES), pixels, classes, rule="guided")
        for each in (scripted, plain)
    )
    assert torch.equal(ours, theirs)


def test_names_that_look_like_calls_are_names() -> None:
    subject = model("odd names")
    assert [(layer.address, layer.calls) for layer in subject.layers.convolutions] == [
        ("a#2.0", 1),
        ("d/conv#2", 1),
    ]
    assert [layer.address for layer in subject.layers if layer.kind == "ReLU"] == [
        "a.b/relu",
        "d/relu",
        "/relu",
    ]
    activation = subject.features(torch.rand(1, 3, 32, 32), "d/relu")["d/relu"]
    assert float(activation.min()) == 0


@pytest.mark.parametrize("channels", [2, 7])
def test_a_network_of_other_channels_is_analysed_where_no_image_is_shown(
    channels: int, images: Images
) -> None:
    subject = model_of(nn.Sequential(*layers(channels)), (channels, 32, 32), CLASSES, "net")
    for name in ("architecture", "filters"):
        assert_sound(execute(chosen(name), subject, no_images(subject.shape), RunJob(0)))
    with pytest.raises(UserError, match=f"noise has 3 channels, but the model takes {channels}"):
        run("classify", subject, images)
    own = Images.from_tensor(torch.rand(4, channels, 32, 32), torch.arange(4), classes=images.classes)
    for name in set(NAMES) - {"architecture", "filters", "training-history"}:
        with pytest.raises(
            UserError, match=f"{name} shows images of 1 or 3 channels, but net takes {channels}"
        ):
            execute(chosen(name), subject, prepare(subject, own), RunJob(0, compare_to=[subject]))


def test_an_output_of_another_shape_is_refused_in_one_line(images: Images) -> None:
    subject = model_of(nn.Sequential(*layers()), (3, 32, 32), CLASSES + 1, "net")
    other = Images.from_tensor(torch.rand(4, 3, 32, 32), torch.arange(4))
    with pytest.raises(UserError, match=r"must have shape \(4, 5\), one number per class, got \(4, 4\)"):
        run("activations", subject, other)


def test_libraries_leave_environment_and_filters_alone_when_they_are_first_imported() -> None:
    code = """
import os, warnings
import probe
model, images = probe.load("lenet5-mnist", device="cpu"), probe.images("digits", n=40)
environment, filters = dict(os.environ), list(warnings.filters)
probe.run("embed", model, images)
probe.run("attack-path", model, images)
assert "sklearn" in __import__("sys").modules
print(dict(os.environ) == environment, list(warnings.filters) == filters)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "True"], done.stderr


SOURCE = """
import torch
from torch import nn
from torch.nn.utils import parametrizations

def make(classes):
    norm = parametrizations.weight_norm
    return nn.Sequential(norm(nn.Conv2d(3, 4, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         norm(nn.Linear(4, classes)))

class Forced(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 14 * 14, classes))

    def forward(self, x):
        self.net[1].train()
        return self.net(x)
"""


def adopted(tmp_path: Path, function: str, own: nn.Module, name: str = "out") -> Model:
    torch.save(own.state_dict(), tmp_path / "net.pth")
    options = AdoptOptions(arch=f"{tmp_path / 'source.py'}:{function}", size=16)
    adopt(tmp_path / "net.pth", options, tmp_path / name)
    return load(tmp_path / name, device="cpu")


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], nn.Module]:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "source.py").write_text(SOURCE)
    return lambda function: build(
        f"{tmp_path / 'source.py'}:{function}", classes=CLASSES, shape=(3, 16, 16)
    ).eval()


def test_adopted_weight_norm_is_stored_as_it_is_and_plain_weights_are_accepted_in_its_place(
    made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    own, pixels = made("make"), torch.rand(2, 3, 16, 16)
    first = adopted(tmp_path, "make", own)
    with safe_open(tmp_path / "out" / "weights.safetensors", "pt") as file:
        assert set(file.keys()) == set(own.state_dict())
    second = adopted(tmp_path, "make", first.network, "again")
    assert torch.allclose(first.logits(pixels), own(first.normalise(pixels)), atol=1e-6)
    assert torch.equal(first.logits(pixels), second.logits(pixels))


def test_adopting_a_network_that_ignores_evaluation_mode_keeps_its_statistics(
    made: Callable[[str], nn.Module], tmp_path: Path
) -> None:
    own = made("Forced")
    model = adopted(tmp_path, "Forced", own)
    assert torch.equal(model.network.get_buffer("net.1.running_mean"), own.get_buffer("net.1.running_mean"))
    assert model.consistency.by_batch


def test_listing_the_analyses_imports_no_library_that_changes_settings() -> None:
    code = "import sys; from probe.analyses import catalogue; print(len(catalogue()), 'scipy' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(NAMES)), "False", "False"]


def with_output(change: Callable[[torch.Tensor], object]) -> Model:
    class Changed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(*layers())

        def forward(self, x: torch.Tensor) -> object:
            return change(self.net(x))

    return model_of(Changed(), (3, 32, 32), CLASSES, "net")


@pytest.mark.parametrize(
    ("change", "kind"),
    [(torch.Tensor.to_sparse, "sparse_coo"), (lambda logits: torch.complex(logits, logits), "complex")],
)
def test_outputs_that_are_no_dense_real_numbers_are_refused(
    change: Callable[[torch.Tensor], object], kind: str
) -> None:
    with pytest.raises(
        UserError, match=f"net returns a {kind} tensor, but logits must be a dense tensor of real numbers"
    ):
        with_output(change).logits(torch.rand(2, 3, 32, 32))


def test_weights_that_cannot_be_computed_in_half_precision_are_refused_in_one_line() -> None:
    own = nn.Sequential(*layers(wrap=nn.utils.parametrizations.orthogonal)).half()
    with pytest.raises(UserError, match=r"cannot be computed .* convert the network to float32"):
        model_of(own, (3, 32, 32), CLASSES, "net")


def test_a_layer_that_takes_images_one_by_one_has_no_activations_by_image() -> None:
    class OneByOne(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.head = nn.Sequential(*layers()[:6]), nn.Sequential(*layers()[6:])

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.cat([self.stem(image[None]) for image in x]))

    subject = model_of(OneByOne(), (3, 32, 32), CLASSES, "net")
    assert subject.features(torch.rand(1, 3, 32, 32), "stem.4")["stem.4"].shape == (1, 8, 8, 8)
    with pytest.raises(UserError, match=r"stem.4 has an output of shape \(1, 8, 8, 8\) for 3 images"):
        subject.features(torch.rand(3, 3, 32, 32), "stem.4")


def test_listings_say_which_parts_are_scripted(images: Images) -> None:
    subject = model("script inside")
    assert scripted_parts(subject.network) == ["stem"]
    assert stem_channels(subject.network) == 3
    warnings_of_architecture = run("architecture", subject, images).warnings
    assert any(line.startswith("Scripted: stem. The layers inside") for line in warnings_of_architecture)


@pytest.mark.parametrize("kind", BY_BATCH)
def test_methods_that_are_called_directly_leave_the_statistics_of_a_network_as_they_were(kind: str) -> None:
    subject = model(kind)
    before = state(subject)
    pixels, labels = torch.rand(3, 3, 32, 32), torch.tensor([0, 1, 2])
    PGD(steps=2)(subject, pixels, labels)
    assert state(subject) == before
    Gradient()(subject, pixels, labels)
    Gradient().map(subject, pixels, labels)
    assert state(subject) == before
