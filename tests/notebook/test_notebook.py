"""A notebook that analyses a bare network is executed; its outputs are HTML with pictures and no traceback."""

import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

pytestmark = pytest.mark.slow
NOTEBOOK = Path(__file__).with_name("bare_network.ipynb")


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> "nbformat.NotebookNode":
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    folder = tmp_path_factory.mktemp("notebook")
    client = nbclient.NotebookClient(
        notebook, timeout=300, allow_errors=True, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    (folder / "outputs.html").write_text(html_of(notebook), encoding="utf-8")
    print(folder / "outputs.html")
    return notebook


def html_of(notebook: "nbformat.NotebookNode", *, dark: bool = False) -> str:
    """The cells and their outputs as a page, marked as JupyterLab does."""
    parts = [
        '<!doctype html><meta charset="utf-8">',
        f'<body data-jp-theme-light="{"false" if dark else "true"}" style="background: {"#111" if dark else "#fff"}">',
    ]
    for cell in notebook.cells:
        parts.append(f"<pre style='background:#8882; padding: 8px'>{cell.source.replace('<', '&lt;')}</pre>")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            text = data.get("text/plain", "") or output.get("text", "") or output.get("evalue", "")
            parts.append(data.get("text/html") or f"<pre>{text.replace('<', '&lt;')}</pre>")
    return "\n".join(parts)


def outputs(notebook: "nbformat.NotebookNode", source: str) -> list:
    return next(cell.outputs for cell in notebook.cells if source in cell.source)


def test_only_the_mistyped_title_is_an_error_and_it_is_one_line(executed) -> None:
    errors = [
        (cell.source, output)
        for cell in executed.cells
        for output in cell.get("outputs", [])
        if output.output_type == "error"
    ]
    assert [source for source, _ in errors] == ['result["Confusoin matrix"]']
    ((_, error),) = errors
    assert error.ename == "UserError"
    assert "Did you mean Confusion matrix?" in error.evalue
    assert len(error.traceback) <= 2
    assert "probe/exhibits" not in "".join(error.traceback)


def test_results_show_themselves_with_pictures_captions_and_short_text(executed) -> None:
    for source in ('run("classify"', 'run("fgsm"', 'run("image-statistics"'):
        (shown,) = [output for output in outputs(executed, source) if output.data.get("text/html")]
        html = shown.data["text/html"]
        assert html.count("<figcaption>") >= 2
        assert '<svg class="figure"' in html
        assert len(html) < 4_000_000
        assert len(shown.data["text/plain"]) < 200
        assert not re.search(r"(src|href)=\"(?!data:|#)", html)


def test_the_tensors_of_methods_are_shown_as_pictures(executed) -> None:
    for source in ("PGD(", "IntegratedGradients(", 'probe.images("shapes'):
        (shown,) = outputs(executed, source)
        assert 'src="data:image/webp' in shown.data["text/html"]


def test_a_table_is_a_data_frame(executed) -> None:
    (shown,) = outputs(executed, "to_pandas")
    assert "<table" in shown.data["text/html"]
