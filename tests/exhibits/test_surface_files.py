"""Surfaces written for other programs."""

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from probe.errors import UserError
from probe.exhibits.exhibits import Surface
from probe.exhibits.result import Result
from probe.exhibits.surface_files import write_surfaces

X, Y = np.linspace(-1, 1, 4, dtype=np.float32), np.linspace(0, 1, 3, dtype=np.float32)
Z = (1 + X[None] ** 2 + 2 * Y[:, None]).astype(np.float32)


def result(*, several: bool = False) -> Result:
    shared = {"x": X, "y": Y, "x_label": "a", "y_label": "b", "caption": "c"}
    names = ["one", "two"] if several else []
    loss, accuracy = (np.stack([z, 2 * z]) if several else z for z in (Z, 100 - Z))
    surfaces = [
        Surface(title="Loss", z=loss, z_label="cross-entropy", names=names, **shared),
        Surface(title="Accuracy", z=accuracy, z_label="accuracy, %", names=names, **shared),
    ]
    return Result(exhibits=[*surfaces])


def test_npz_holds_the_maps_over_their_coordinates(tmp_path: Path) -> None:
    (file,) = write_surfaces(result(), tmp_path / "s.npz")
    with np.load(file) as stored:
        assert set(stored.files) == {"x", "y", "loss", "accuracy"}
        assert stored["loss"][2, 1] == np.float32(1 + X[1] ** 2 + 2 * Y[2])


def test_several_models_have_a_file_each(tmp_path: Path) -> None:
    files = write_surfaces(result(several=True), tmp_path / "s.npz")
    assert [file.name for file in files] == ["s-one.npz", "s-two.npz"]
    assert np.array_equal(np.load(files[1])["loss"], 2 * Z)


def test_hdf5_has_the_layout_of_the_original(tmp_path: Path) -> None:
    import h5py

    (file,) = write_surfaces(result(), tmp_path / "s.h5", split="test")
    with h5py.File(file) as stored:
        assert set(stored) == {"xcoordinates", "ycoordinates", "test_loss", "test_acc"}
        np.testing.assert_allclose(stored["test_loss"][:], Z)


def test_meshes_have_a_vertex_for_each_point_and_no_faces_at_gaps(tmp_path: Path) -> None:
    holed = result()
    holed.exhibits[0].z[0, 0] = np.nan
    (ply,) = write_surfaces(holed, tmp_path / "s.ply")
    text = ply.read_text().splitlines()
    assert "element vertex 11" in text
    assert "element face 5" in text
    rows = np.array([line.split() for line in text[text.index("end_header") + 1 :][:11]], dtype=float)
    np.testing.assert_allclose(rows[0], [X[1], Y[0], Z[0, 1], Z[0, 1]], rtol=1e-6)
    (vtp,) = write_surfaces(holed, tmp_path / "s.vtp")
    piece = ElementTree.parse(vtp).getroot().find("PolyData/Piece")
    assert piece.attrib["NumberOfPoints"] == "11"
    connectivity, offsets = (np.array(a.text.split(), dtype=int) for a in piece.find("Polys"))
    assert connectivity.max() == 10
    assert offsets.tolist() == [4, 8, 12, 16, 20]
    holed.exhibits[0].z[0, 0] = Z.flat[1]


def test_other_suffixes_and_results_without_surfaces_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"s.txt: surfaces are written as .npz"):
        write_surfaces(result(), tmp_path / "s.txt")
    with pytest.raises(UserError, match="has no surface"):
        write_surfaces(Result(exhibits=[]), tmp_path / "s.npz")
