"""Every analysis where the network lies on another device than the images: a stand-in for CUDA, and CUDA itself."""

from typing import Any

import pytest
import torch

from probe.analyses import catalogue, find
from probe.data.images import Images
from probe.model.model import Model
from probe.runs.execute import execute, make_analysis, prepare
from probe.runs.job import RunJob
from tests.conftest import suited
from tests.standin import stand_in

every = pytest.mark.parametrize("name", list(catalogue()))


def numbers(name: str, convnet: Model, images: Images, device: torch.device | str) -> dict[str, Any]:
    network = suited(name, convnet).network
    model = Model(torch.nn.Sequential(*network), convnet.card, device)
    job = RunJob(5, compare_to=[model] * 2)
    result = execute(make_analysis(name, **find(name).quick), model, prepare(model, images), job)
    return {what: number.value for what, number in result.numbers.items()}


@every
def test_no_analysis_mixes_the_device_of_the_network_with_that_of_the_images(
    name: str, convnet: Model, noise_images: Images
) -> None:
    expected = numbers(name, convnet, noise_images, "cpu")
    with stand_in() as device:
        assert numbers(name, convnet, noise_images, device) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.cuda
@every
def test_a_real_device_gives_the_numbers_of_the_cpu(name: str, convnet: Model, noise_images: Images) -> None:
    expected = numbers(name, convnet, noise_images, "cpu")
    on_cuda = numbers(name, convnet, noise_images, "cuda")
    assert on_cuda.keys() == expected.keys()
    for what, value in on_cuda.items():
        assert value == pytest.approx(expected[what], rel=0.02, abs=0.02), what
