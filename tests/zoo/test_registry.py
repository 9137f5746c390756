"""Architectures are listed without torch and built by name; wrong names and options are refused."""

import subprocess
import sys

import pytest
import torch

from probe.errors import UserError
from probe.zoo import architecture, architectures, build


def test_listing_the_architectures_loads_no_torch():
    code = (
        "import sys; from probe.zoo import architectures;"
        "print(len(architectures()), all(a.title and a.source for a in architectures().values()));"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(len(architectures())), "True"]


def test_building_imports_only_the_family_of_the_architecture():
    code = (
        "import sys; from probe.zoo import build; build('resnet20');"
        "print(sorted(m.split('.')[-1] for m in sys.modules if m.startswith('probe.zoo.')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['chain', 'initialisation', 'registry', 'resnet', 'table']"


def test_the_error_for_an_unknown_architecture_has_the_nearest_names():
    with pytest.raises(
        UserError, match=r"there is no architecture 'resnet18'\. Did you mean .*resnet\d+"
    ) as error:
        build("resnet18")
    assert "\n" not in str(error.value)


def test_the_error_for_an_unknown_option_has_the_nearest_one():
    with pytest.raises(UserError, match=r"densenet-cifar has no option 'grwoth'\. Did you mean growth\?"):
        build("densenet-cifar", grwoth=12)


def test_a_network_without_classes_or_channels_is_refused():
    with pytest.raises(UserError, match="classes of lenet5 must be at least 1, got 0"):
        build("lenet5", classes=0)
    with pytest.raises(UserError, match="channels of lenet5 must be at least 1, got -3"):
        build("lenet5", channels=-3)


def test_channels_of_a_text_network_are_refused():
    with pytest.raises(UserError, match="text-convnet classifies text, not images"):
        build("text-convnet", channels=3)


def test_the_table_is_read_only():
    with pytest.raises(TypeError):
        architectures()["lenet5"] = architecture("zfnet")  # type: ignore[index]
    with pytest.raises(AttributeError):
        architecture("lenet5").classes = 3  # type: ignore[misc]


@pytest.mark.parametrize("name", ["lenet5", "resnet20", "densenet-cifar"])
def test_the_initial_weights_depend_on_the_seed_alone(name):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        first = build(name).state_dict()
        torch.manual_seed(5)
        again = build(name).state_dict()
        other = build(name).state_dict()
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_options_override_those_of_the_name():
    deep = build("resnet20", depth=26)
    assert len(deep.layer1) == 4  # type: ignore[arg-type]
    assert build("alexnet-cifar", dropout=0.2).dropout1.p == 0.2  # type: ignore[union-attr]


def test_relu_and_tanh_lenets_are_initialised_with_the_variances_of_he_and_glorot():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        relu, tanh = build("lenet5-relu").conv3.weight, build("lenet5").conv3.weight  # type: ignore[union-attr]
    fan_in, fan_out = 16 * 25, 120 * 25
    assert relu.var().item() == pytest.approx(2 / fan_in, rel=0.05)
    assert tanh.var().item() == pytest.approx(2 / (fan_in + fan_out), rel=0.05)
