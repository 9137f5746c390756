"""What it costs to write page and PDF of a run as large as `full` again: processor seconds, which a busy machine leaves alone."""

import hashlib
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import probe
from probe.exhibits.exhibits import (
    CellImages,
    Chart,
    Exhibit,
    ImageGrid,
    Line,
    Matrix,
    Scale,
    Scatter,
    Surface,
    Table,
)
from probe.exhibits.result import Result
from probe.exhibits.storage import save
from probe.reporting.document import Report, Section
from probe.reporting.stored import store_report
from probe.runs.store import DATA, KEY, RunDirectory

pytestmark = pytest.mark.slow
HOME = Path(probe.__file__).parents[1]
RNG = np.random.default_rng(0)
SIGNED = Scale(low=-3, high=3, kind="diverging", label="value")

# Number of images, side, whether they have labels, columns, how often: the grids of a `full` report on vgg-shapes.
GRIDS = [
    *[(12, 64, True, 6, 8), (18, 7, True, 0, 2), (144, 3, False, 0, 2), (33, 64, False, 11, 5)],
    *[(9, 64, True, 3, 9), (16, 64, True, 4, 2), (50, 64, True, 5, 1), (88, 64, False, 11, 1)],
    *[(12, 50, True, 0, 2), (12, 104, True, 0, 1), (12, 196, True, 0, 1)],
]


@cache
def shapes() -> np.ndarray:
    """(300, 64, 64, 3)."""
    return probe.images("shapes:test", n=300).pixels().permute(0, 2, 3, 1).numpy()


def photographs(n: int, side: int) -> list[np.ndarray]:
    """Images of shapes, tiled or cut to `side` pixels."""
    return [np.tile(image, (4, 4, 1))[:side, :side] for image in shapes()[:n]]


def exhibits() -> list[Exhibit]:
    """34 grids, 23 charts, 7 scatter plots, 4 matrices, 17 tables and a surface."""
    made: list[Exhibit] = []
    for n, side, labelled, columns, times in GRIDS:
        for _ in range(times):
            maps = side < 10 or not labelled
            images = (
                [5 * image.mean(2) - 2.5 for image in photographs(n, side)] if maps else photographs(n, side)
            )
            labels = [f"class {i}\n→ another ({i}%)" for i in range(n)] if labelled else []
            made.append(
                ImageGrid(
                    title="Images",
                    caption="Some.",
                    images=images,
                    labels=labels,
                    columns=columns,
                    scale=SIGNED if maps else None,
                )
            )
    x = np.linspace(0, 1, 20)
    for _ in range(23):
        lines = [
            Line(name=f"line {k}", x=x, y=x**k, low=0.9 * x**k, high=np.minimum(1, 1.1 * x**k))
            for k in (1, 2, 3)
        ]
        made.append(Chart(title="Curves", caption="Three.", lines=lines, x_label="x", y_label="y"))
    for k in range(7):
        points = RNG.normal(size=(2, 300)).astype(np.float32)
        group = np.arange(300) % 10
        made.append(
            Scatter(
                title="Points",
                caption="Ten groups.",
                x=points[0],
                y=points[1],
                group=group,
                group_names=[f"class {k}" for k in range(10)],
                point_names=[f"image {i}" for i in range(300)],
                thumbnails=np.stack(photographs(300, 64)) if k < 2 else None,
            )
        )
    names = [f"class {k}" for k in range(10)]
    for _ in range(4):
        behind = CellImages(
            images=np.stack(photographs(60, 64)),
            cells=RNG.integers(0, 10, (60, 2)),
            labels=["image"] * 60,
            counts=np.ones((10, 10), int),
        )
        values = RNG.random((10, 10), dtype=np.float32)
        made.append(
            Matrix(
                title="Cells",
                caption="Ten.",
                values=values,
                row_labels=names,
                column_labels=names,
                format="{:.2f}",
                cell_images=behind,
            )
        )
    axis = np.linspace(-1, 1, 21)
    made.append(
        Surface(
            title="Surface",
            caption="A bowl.",
            x=axis,
            y=axis,
            z=(axis[None] ** 2 + axis[:, None] ** 2).astype(np.float32),
            x_label="x",
            y_label="y",
            z_label="z",
        )
    )
    made += [
        Table(
            title="Rows",
            caption="Forty.",
            columns=["name", "a", "b"],
            rows=[[f"row {i}", i, 0.5 * i] for i in range(40)],
        )
        for _ in range(17)
    ]
    return made


def store(directory: RunDirectory, name: str, result: Result) -> None:
    """As `RunDirectory.write`, without the pictures that `--from` does not read."""
    folder = directory.path / name
    save(result, folder, draw=False)
    digests = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in DATA}
    (folder / KEY).write_text(json.dumps({"key": "key", "sha256": digests}, indent=1))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory as that of `full`, whose page was never written: sixteen analyses with 86 exhibits."""
    directory = RunDirectory(tmp_path_factory.mktemp("run"))
    everything = exhibits()
    assert len(everything) == 86
    sections = []
    for k in range(16):
        result = Result(exhibits=everything[k::16])
        store(directory, f"analysis-{k}", result)
        sections.append(
            Section(
                anchor=f"analysis-{k}",
                title=f"Analysis {k}",
                source="",
                question="",
                parameters={},
                result=result,
            )
        )
    store_report(
        directory, Report(title="Full report", model={}, data={}, sections=sections, provenance={"seed": 0})
    )
    return directory.path


def rendered(run: Path) -> dict[str, float]:
    """Seconds that a process of its own takes for the page and for the PDF, without imports."""
    code = (
        "import json, sys, time; from pathlib import Path; import probe.exhibits.static, typst;"
        "from probe.reporting.report import render_stored;"
        "clocks = lambda: (time.perf_counter(), time.process_time());"
        "start = clocks(); written = render_stored(Path(sys.argv[1])); middle = clocks();"
        "written.write_pdf(); end = clocks();"
        "print(json.dumps({'html': middle[1] - start[1], 'pdf': end[1] - middle[1],"
        " 'html wall': middle[0] - start[0], 'pdf wall': end[0] - middle[0]}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(run)], cwd=HOME, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_a_run_like_full_is_rendered_again_within_five_seconds_as_html_and_as_pdf(run: Path) -> None:
    anew = rendered(run)
    page = (run / "report.html").read_bytes()
    again = min((rendered(run) for _ in range(2)), key=lambda taken: taken["html"])
    for name, seconds in (("drawn anew", anew), ("from stored figures", again)):
        print(
            f"{name}: HTML {seconds['html']:.1f} s of processor, {seconds['html wall']:.1f} s;"
            f" PDF {seconds['pdf']:.1f} s of processor, {seconds['pdf wall']:.1f} s"
        )
    assert (run / "report.html").read_bytes() == page
    assert again["html"] <= 5
    assert again["pdf"] <= 5
