"""The precision of passes is bfloat16 where it is requested, or by default where the hardware has instructions for it."""

import pytest
import torch

from probe.precision import Precision, choose_precision, computes_in_bf16


@pytest.mark.parametrize(
    ("requested", "hardware", "chosen"),
    [
        ("auto", True, "bf16"),
        ("auto", False, "float32"),
        ("bf16", True, "bf16"),
        ("bf16", False, "bf16"),
        ("float32", True, "float32"),
        ("float32", False, "float32"),
    ],
)
def test_auto_is_bf16_where_the_hardware_computes_in_it(
    requested: Precision, hardware: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("probe.precision.computes_in_bf16", lambda device: hardware)
    assert choose_precision(requested, torch.device("cpu")) == chosen


@pytest.mark.parametrize(
    ("capability", "computes"), [((7, 0), False), ((7, 5), False), ((8, 0), True), ((9, 0), True)]
)
def test_gpus_compute_in_bf16_from_ampere_on(
    capability: tuple[int, int], computes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert computes_in_bf16(torch.device("cuda")) is computes


@pytest.mark.parametrize(("avx512", "amx"), [(False, False), (True, False), (False, True)])
def test_processors_compute_in_bf16_with_avx512_bf16_or_amx(
    avx512: bool, amx: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert computes_in_bf16(torch.device("cpu")) is (avx512 or amx)
