"""Analyses say whether they use further models: the dashboard asks for these where they do."""

import inspect
import sys

import pytest

from probe.analyses import catalogue, find


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_an_analysis_that_reads_further_models_says_so(name: str):
    kind = find(name)
    reads = "job.compare_to" in inspect.getsource(sys.modules[kind.__module__])
    assert reads == bool(kind.needs_compare_to or kind.takes_compare_to)
