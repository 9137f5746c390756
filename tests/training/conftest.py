"""Fixtures of the tests of trainings."""

import pytest
import torch

from tests.training.quick import QUICK, train


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """LeNet-5 after three epochs on the digits, and the global random state before and after."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    before = torch.get_rng_state()
    card = train(out, QUICK.model_copy(update={"save_epochs": True}))
    return out, card, bool(torch.equal(before, torch.get_rng_state()))
