"""Damaged results and chunks are computed again; none is taken for what it is not."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.exhibits.exhibits import Chart, Line
from probe.exhibits.result import Number, Result
from probe.runs.store import KEY, RunDirectory


def result() -> Result:
    line = Line(name="a", x=np.arange(50, dtype=np.float32), y=np.arange(50, dtype=np.float32) ** 2)
    chart = Chart(title="Chart", caption="A chart.", lines=[line], x_label="x", y_label="y")
    return Result(exhibits=[chart], numbers={"value": Number(value=1.5)})


@pytest.mark.parametrize("file", ["result.json", "arrays.npz", KEY])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["cut", "flip", "zeros", "text", "empty", "latin", "gone"]),
)
def test_a_damaged_result_is_not_read(file: str, seed: int, kind: str, tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path / "run")
    folder = directory.write("chart", "the key", result())
    assert directory.read("chart", "the key") is not None
    damage(folder / file, kind, np.random.default_rng(seed))
    assert directory.read("chart", "the key") is None


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["cut", "flip", "zeros", "text", "empty", "latin", "gone"]),
)
def test_a_damaged_chunk_is_computed_again(seed: int, kind: str, tmp_path: Path) -> None:
    store = RunDirectory(tmp_path / "run").chunks("chart", "the key")
    arrays = {"a": np.arange(40), "b": np.random.default_rng(1).random((5, 4))}
    store.save("part-00000", arrays)
    stored = store.load("part-00000")
    assert stored is not None
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[name], array)
    damage(store.folder / "part-00000.npz", kind, np.random.default_rng(seed))
    assert store.load("part-00000") is None


@pytest.mark.parametrize("content", [b"\xff\xfe other", b"", b"another key"])
def test_chunks_under_a_key_that_cannot_be_read_are_computed_again(content: bytes, tmp_path: Path) -> None:
    store = RunDirectory(tmp_path / "run").chunks("chart", "the key")
    store.save("part", {"a": np.zeros(3)})
    (store.folder / KEY).write_bytes(content)
    assert store.load("part") is None
    store.save("other", {"a": np.ones(3)})
    assert store.load("part") is None


def damage(path: Path, kind: str, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if kind == "gone":
        path.unlink()
        return
    if kind == "flip":
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del content[place:]
    elif kind == "zeros":
        content[place:] = bytes(len(content) - place + 7)
    path.write_bytes({"text": b"not it", "empty": b"", "latin": b"\xe9\xff"}.get(kind, bytes(content)))
