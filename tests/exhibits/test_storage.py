import csv
import dataclasses
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from probe.exhibits.exhibits import ImageGrid, Table
from probe.exhibits.result import Number, Result
from probe.exhibits.storage import file_names, load, save, slug
from probe.exhibits.tabular import csv_text
from tests.exhibits.examples import NASTY, exhibits, result


def same(one: Any, other: Any) -> bool:
    """Equality that looks into arrays, and in which nan equals nan."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and one.tobytes() == other.tobytes()
    if dataclasses.is_dataclass(one):
        fields = dataclasses.fields(one)
        return type(one) is type(other) and all(
            same(getattr(one, f.name), getattr(other, f.name)) for f in fields
        )
    if isinstance(one, list | tuple):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, float) and math.isnan(one):
        return isinstance(other, float) and math.isnan(other)
    return type(one) is type(other) and one == other


def test_a_result_is_loaded_as_it_was_saved(tmp_path: Path):
    save(result(), tmp_path, draw=False)
    back = load(tmp_path)
    assert same(back, result())
    assert [e.shape for e in back.exhibits[1].images] == [(28, 28), (14, 9), (7, 7), (1, 1)]  # type: ignore[attr-defined]


def test_the_comparison_detects_a_changed_pixel():
    changed = result()
    image = changed.exhibits[0].images[0].copy()  # type: ignore[attr-defined]
    image[0, 0] = 0.5
    changed.exhibits[0].images[0] = image  # type: ignore[attr-defined]
    assert not same(changed, result())


def test_the_same_result_gives_the_same_bytes_and_images(tmp_path: Path):
    for name in ("one", "other"):
        save(result(), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "other").iterdir())
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "other" / name).read_bytes(), name


def test_every_exhibit_has_a_picture_and_all_but_grids_a_csv(tmp_path: Path):
    save(result(), tmp_path)
    for stem, exhibit in zip(file_names(result()), exhibits(), strict=True):
        suffix, start = ("png", b"\x89PNG") if isinstance(exhibit, ImageGrid) else ("svg", b"<?xml")
        assert (tmp_path / f"{stem}.{suffix}").read_bytes().startswith(start)
        assert (tmp_path / f"{stem}.csv").exists() != isinstance(exhibit, ImageGrid)
    assert file_names(result())[2] == "03-accuracy-under-attack"


def test_result_json_is_strict_json(tmp_path: Path):
    save(result(), tmp_path, draw=False)

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    json.loads((tmp_path / "result.json").read_text(encoding="utf-8"), parse_constant=refuse)


@given(st.dictionaries(st.text(), st.one_of(st.floats(), st.integers(), st.booleans()), max_size=4))
def test_any_name_may_be_the_name_of_a_number(
    tmp_path_factory: pytest.TempPathFactory, names: dict[str, float]
):
    folder = tmp_path_factory.mktemp("result")
    kept = Result(exhibits=[], numbers={name: Number(value=value) for name, value in names.items()})
    save(kept, folder, draw=False)
    assert same(load(folder), kept)


def test_numpy_numbers_in_a_table_are_loaded_as_python_numbers(tmp_path: Path):
    rows: Any = [[np.float32(0.5)], [np.int64(7)]]
    table = Table(title="t", caption="c", columns=["a"], rows=rows)
    save(Result(exhibits=[table]), tmp_path, draw=False)
    assert load(tmp_path).exhibits[0].rows == [[0.5], [7]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("spoil", ["result.json", "arrays.npz"])
def test_a_damaged_folder_is_a_value_error(tmp_path: Path, spoil: str):
    save(result(), tmp_path, draw=False)
    whole = (tmp_path / spoil).read_bytes()
    (tmp_path / spoil).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not contain"):
        load(tmp_path)


def test_a_missing_folder_is_an_os_error(tmp_path: Path):
    with pytest.raises(OSError, match=r"result\.json"):
        load(tmp_path / "nowhere")


@given(st.text())
def test_slugs_are_safe_file_names(text: str):
    made = slug(text)
    assert made
    assert len(made) <= 60
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert not made.startswith("-")
    assert not made.endswith("-")


def test_slugs_keep_letters_and_digits():
    assert slug("Où en est-on ? ../../etc/passwd") == "ou-en-est-on-etc-passwd"
    assert slug("漢字") == "exhibit"


def rows(exhibit: Any) -> list[list[str]]:
    text = csv_text(exhibit)
    assert text is not None
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_the_numbers_of_a_chart_and_an_empty_cell_for_a_gap():
    table = rows(exhibits()[2])
    assert table[0] == ["series", "x", "y", "low", "high"]
    assert len(table) == 1 + 14
    assert float(table[2][2]) == pytest.approx(0.9)
    assert table[4][2] == ""
    assert table[1][0] == NASTY


def test_formulas_are_escaped_and_numbers_are_unchanged():
    table = rows(
        Table(
            title="t",
            caption="c",
            columns=["=head"],
            rows=[
                ["=1+1"],
                ["+a"],
                ["-dog"],
                ["@x"],
                ["\t=1"],
                [" =1"],
                [-3],
                [-0.5],
                ["-12"],
                ['a "b", c'],
                ["1\n2"],
            ],
        )
    )
    wanted = [
        "'=head",
        "'=1+1",
        "'+a",
        "'-dog",
        "'@x",
        "'\t=1",
        "' =1",
        "-3",
        "-0.5",
        "-12",
        'a "b", c',
        "1\n2",
    ]
    assert [row[0] for row in table] == wanted


def test_csv_of_a_matrix_has_both_labels_and_of_a_surface_every_point():
    matrix, surface = rows(exhibits()[3]), rows(exhibits()[5])
    assert matrix[0][1:] == ["cat", "dog"]
    assert matrix[2] == ["'-dog", "", ""]
    assert len(surface) == 1 + 21 * 21
    x, y, z = map(float, surface[1 + 21 * 3 + 5])
    assert z == pytest.approx(x**2 + 3 * y**2 + 0.1, abs=1e-5)
