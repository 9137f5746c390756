"""Damaged results and chunks are computed again; none is taken for what it is not."""

import contextlib
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from probe.exhibits.exhibits import Chart, Line
from probe.exhibits.result import Number, Result
from probe.exhibits.storage import load, save
from probe.runs.store import KEY, RunDirectory


def result() -> Result:
    line = Line(name="a", x=np.arange(50, dtype=np.float32), y=np.arange(50, dtype=np.float32) ** 2)
    chart = Chart(title="Chart", caption="A chart.", lines=[line], x_label="x", y_label="y")
    return Result(exhibits=[chart], numbers={"value": Number(value=1.5)})


@pytest.mark.parametrize("file", ["result.json", "arrays.npz", KEY])
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["cut", "flip", "zeros", "text", "empty", "latin", "gone", "fifo"]),
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
    kind=st.sampled_from(["cut", "flip", "zeros", "text", "empty", "latin", "gone", "fifo"]),
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


@pytest.mark.parametrize("content", [b"\xff\xfe other", b"", b"another key", b"a fifo"])
def test_chunks_under_a_key_that_cannot_be_read_are_computed_again(content: bytes, tmp_path: Path) -> None:
    store = RunDirectory(tmp_path / "run").chunks("chart", "the key")
    store.save("part", {"a": np.zeros(3)})
    (store.folder / KEY).unlink()
    os.mkfifo(store.folder / KEY) if content == b"a fifo" else (store.folder / KEY).write_bytes(content)
    assert store.load("part") is None
    store.save("other", {"a": np.ones(3)})
    assert store.load("part") is None


def damage(path: Path, kind: str, rng: np.random.Generator) -> None:
    content = bytearray(path.read_bytes())
    place = int(rng.integers(len(content)))
    if kind in ("gone", "fifo"):
        path.unlink()
        if kind == "fifo" and hasattr(os, "mkfifo"):
            os.mkfifo(path)
        return
    if kind == "flip":
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == "cut":
        del content[place:]
    elif kind == "zeros":
        content[place:] = bytes(len(content) - place + 7)
    path.write_bytes({"text": b"not it", "empty": b"", "latin": b"\xe9\xff"}.get(kind, bytes(content)))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["cut", "flip", "zeros", "text", "empty", "latin", "gone", "fifo"]),
    file=st.sampled_from(["result.json", "arrays.npz"]),
)
def test_a_damaged_result_without_its_digests_is_an_error_of_one_kind(
    seed: int, kind: str, file: str, tmp_path: Path
) -> None:
    """As `probe export` and the page of a transfer read it."""
    save(result(), tmp_path / "sent", draw=False)
    damage(tmp_path / "sent" / file, kind, np.random.default_rng(seed))
    with contextlib.suppress(OSError, ValueError):
        load(tmp_path / "sent")


@pytest.mark.parametrize("file", ["result.json", "arrays.npz"])
def test_a_result_that_is_a_fifo_does_not_block(file: str, tmp_path: Path) -> None:
    save(result(), tmp_path, draw=False)
    (tmp_path / file).unlink()
    os.mkfifo(tmp_path / file)
    with pytest.raises(ValueError, match="not a regular file"):
        load(tmp_path)


def test_arrays_that_would_fill_the_memory_are_refused_before_they_are_read(tmp_path: Path) -> None:
    save(result(), tmp_path, draw=False)
    with zipfile.ZipFile(tmp_path / "arrays.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", bytes(10**6))
    content = (tmp_path / "arrays.npz").read_bytes()
    place = content.rindex(b"PK\x01\x02") + 24  # the size that the directory of the archive claims
    claimed = content[:place] + (2**32 - 2).to_bytes(4, "little") + content[place + 4 :]
    (tmp_path / "arrays.npz").write_bytes(claimed.replace(b"a.npy", b"b.npy"))
    with pytest.raises(ValueError, match="more than any result has"):
        load(tmp_path)


@pytest.mark.parametrize(
    "label", ["invert /relu-00000-of-00001", "../../outside", "100 % of é", "layer1.0/add#2:3"]
)
def test_a_chunk_of_any_label_is_kept_inside_its_folder(label: str, tmp_path: Path) -> None:
    """Labels hold addresses of layers, which a network chooses."""
    store = RunDirectory(tmp_path / "run").chunks("chart", "the key")
    (tmp_path / "run").mkdir(exist_ok=True)
    store.save(label, {"x": np.arange(3)})
    assert list(store.all()) == [label]
    assert {path.parent for path in tmp_path.rglob("*.npz")} == {tmp_path / "run" / ".chunks-chart"}
