"""Write surfaces for other programs: NumPy, HDF5 in the layout of loss-landscape, and meshes as PLY and VTP."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from probe.atomic_files import replacing
from probe.errors import UserError
from probe.exhibits.exhibits import Array, Surface
from probe.exhibits.result import Result
from probe.exhibits.storage import slug

SUFFIXES = (".npz", ".h5", ".hdf5", ".ply", ".vtp")


def write_surfaces(result: Result, path: Path, *, split: str = "train") -> list[Path]:
    """Write the surfaces of `result` in the format that the suffix of `path` names; returns the files written.

    A file holds the surfaces of one model, the loss and the accuracy over the same points; of several models each has a file,
    with the name of the model in its own. Of a mesh the height is the first surface, in log10 where its exhibit is. split:
    "train" or "test", for the names of data sets in HDF5. Raises UserError for another suffix, a result without surfaces,
    and HDF5 without h5py.
    """
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path.name}: surfaces are written as {', '.join(SUFFIXES)}")
    surfaces = [exhibit for exhibit in result.exhibits if isinstance(exhibit, Surface)]
    if not surfaces:
        raise UserError("the result has no surface: `probe surface` computes one")
    first = surfaces[0]
    same = [s for s in surfaces if s.surfaces.shape == first.surfaces.shape and np.array_equal(s.x, first.x)]
    written = []
    for k in range(len(first.surfaces)):
        name = f"-{slug(first.names[k])}" if len(first.surfaces) > 1 else ""
        file = path.with_name(f"{path.stem}{name}{path.suffix}")
        with replacing(file) as temporary:
            _WRITERS[path.suffix](temporary, first, {_key(s): s.surfaces[k] for s in same}, k, split)
        written.append(file)
    return written


def _key(surface: Surface) -> str:
    return (
        "loss"
        if surface.z_label == "cross-entropy"
        else slug(surface.z_label.split(",")[0]).replace("-", "_")
    )


Maps = Mapping[str, Array]


def _npz(file: Path, surface: Surface, maps: Maps, k: int, split: str) -> None:
    """x, y, and each map as (len(y), len(x)); computed: which points were; path: of a trajectory."""
    more = {}
    if surface.computed is not None:
        more["computed"] = surface.computed if surface.computed.ndim == 2 else surface.computed[k]
    if surface.path is not None:
        more["path"] = surface.path
    np.savez(file, allow_pickle=False, x=surface.x, y=surface.y, **maps, **more)


def _hdf5(file: Path, surface: Surface, maps: Maps, k: int, split: str) -> None:
    """The data sets of github.com/tomgoldstein/loss-landscape; Z[i, j] = L(x[j], y[i]), for grids that are not square too."""
    try:
        import h5py  # pyrefly: ignore
    except ImportError:
        raise UserError("HDF5 needs h5py: pip install 'cnn-probe[hdf5]'") from None
    names = {"loss": f"{split}_loss", "accuracy": f"{split}_acc"}
    with h5py.File(file, "w", track_order=True) as stored:
        stored.create_dataset("xcoordinates", data=surface.x.astype(np.float64), track_times=False)
        stored.create_dataset("ycoordinates", data=surface.y.astype(np.float64), track_times=False)
        for key, values in maps.items():
            stored.create_dataset(names.get(key, key), data=values.astype(np.float64), track_times=False)


def _mesh(surface: Surface, maps: Maps) -> tuple[Array, Array, Array]:
    """Points (n, 3), values (n,) and polygons (m, 4) of a surface; without the points that are gaps."""
    values = next(iter(maps.values())).astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        height = np.log10(values) if surface.z_log else values
    x, y = np.meshgrid(surface.x.astype(float), surface.y.astype(float))
    usable = np.isfinite(height)
    number = np.full(height.shape, -1)
    number[usable] = np.arange(usable.sum())
    corners = [number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]]
    polygons = np.stack([c.ravel() for c in corners], axis=1)
    points = np.column_stack([x[usable], y[usable], height[usable]])
    return points, values[usable], polygons[(polygons >= 0).all(1)]


def _ply(file: Path, surface: Surface, maps: Maps, k: int, split: str) -> None:
    points, values, polygons = _mesh(surface, maps)
    lines = [
        "ply",
        "format ascii 1.0",
        f"element vertex {len(points)}",
        *(f"property float {name}" for name in ("x", "y", "z", "value")),
        f"element face {len(polygons)}",
        "property list uchar int vertex_indices",
        "end_header",
        *(
            f"{x:.9g} {y:.9g} {z:.9g} {v:.9g}"
            for (x, y, z), v in zip(points.tolist(), values.tolist(), strict=True)
        ),
        *(f"4 {a} {b} {c} {d}" for a, b, c, d in polygons.tolist()),
    ]
    file.write_text("\n".join(lines) + "\n", encoding="ascii")


def _vtp(file: Path, surface: Surface, maps: Maps, k: int, split: str) -> None:
    points, values, polygons = _mesh(surface, maps)

    def array(name: str, kind: str, data: Array, components: int = 1) -> str:
        text = " ".join(f"{v:.9g}" if kind == "Float32" else str(v) for v in data.ravel().tolist())
        return f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{components}" format="ascii">{text}</DataArray>'

    key = next(iter(maps))
    offsets = 4 * np.arange(1, len(polygons) + 1)
    file.write_text(
        '<?xml version="1.0"?>\n<VTKFile type="PolyData" version="0.1" byte_order="LittleEndian"><PolyData>'
        f'<Piece NumberOfPoints="{len(points)}" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" '
        f'NumberOfPolys="{len(polygons)}">\n'
        f'<PointData Scalars="{key}">{array(key, "Float32", values)}</PointData>\n'
        f"<Points>{array('points', 'Float32', points, 3)}</Points>\n"
        f"<Polys>{array('connectivity', 'Int32', polygons)}{array('offsets', 'Int32', offsets)}</Polys>\n"
        "</Piece></PolyData></VTKFile>\n",
        encoding="ascii",
    )


_WRITERS: dict[str, Callable[[Path, Surface, Maps, int, str], None]] = {
    ".npz": _npz,
    ".h5": _hdf5,
    ".hdf5": _hdf5,
    ".ply": _ply,
    ".vtp": _vtp,
}
