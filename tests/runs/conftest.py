"""Fixtures of the tests of runs."""

import pytest

import probe
from probe.runs.execute import prepare
from probe.runs.inputs import Inputs
from tests.runs.drivers import finish_script


@pytest.fixture(scope="module")
def inputs() -> Inputs:
    model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits:test", n=8)
    return Inputs(model, prepare(model, images), seed=3)


@pytest.fixture(scope="session")
def plain_script(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the result of the script by the plain loop."""
    return finish_script("plain", tmp_path_factory.mktemp("plain"), seconds=0)
