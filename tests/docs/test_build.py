"""The extensions of the documentation: pictures of values, the cache of examples, the reference, links between pages."""

import re
from itertools import count
from pathlib import Path

import numpy as np
import offline
import probe_docstrings
import probe_gallery
import probe_reference
import pytest
from PIL import Image

from probe.analyses import catalogue
from probe.exhibits.exhibits import Chart, ImageGrid, Line, Table
from probe.exhibits.result import Result
from probe.methods.adversarial.registry import ATTACKS
from probe.methods.attribution.registry import METHODS

DOCS = Path(__file__).parents[2] / "docs"


def chart() -> Chart:
    line = Line(name="a", x=np.arange(3.0), y=np.arange(3.0))
    return Chart(title="Rise", caption="It rises.", lines=[line], x_label="x", y_label="y")


def grid() -> ImageGrid:
    return ImageGrid(title="Grey", caption="Grey.", images=[np.full((8, 8, 1), 0.5, np.float32)] * 3)


def test_the_pictures_of_a_result_are_those_of_its_exhibits_without_tables() -> None:
    table = Table(title="Numbers", caption="One.", columns=["a"], rows=[[1]])
    drawn = list(probe_gallery.pictures(Result(exhibits=[chart(), table, grid()])))
    assert len(drawn) == 2
    assert all(picture.mode == "RGB" and np.asarray(picture).std() > 5 for picture in drawn)
    assert not list(probe_gallery.pictures(3.5))


def test_a_value_is_scraped_once(tmp_path: Path) -> None:
    paths = (str(tmp_path / f"{k}.png") for k in count(1))
    variables = {"example_globals": {"___": chart()}, "image_path_iterator": paths}
    assert probe_gallery.scrape(None, variables, {}) == ""
    assert probe_gallery.scrape(None, variables, {}) == "", "a block that ends with a statement"
    assert [path.name for path in tmp_path.iterdir()] == ["1.png"]
    with Image.open(tmp_path / "1.png") as picture:
        assert picture.width > 300


def test_examples_run_again_when_the_code_changes_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = tmp_path / "auto_gallery" / "units" / "filters.py.md5"
    gone = tmp_path / "auto_gallery" / "units" / "gone.rst"
    script = tmp_path / "gallery" / "units" / "filters.py"
    for path in (stored, gone, script, stored.with_name("filters.rst"), tmp_path / "stories" / "a.py"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    probe_gallery.forget_outdated(tmp_path)
    assert not stored.exists()
    assert not gone.exists()
    assert stored.with_name("filters.rst").exists()
    stored.touch()
    probe_gallery.forget_outdated(tmp_path)
    assert stored.exists()
    monkeypatch.setattr(probe_gallery, "code_digest", lambda: "another")
    probe_gallery.forget_outdated(tmp_path)
    assert not stored.exists()


def test_docstrings_become_rest() -> None:
    lines = ["Take `x*y`", "  or z_.", "", "    probe.run(x)", "", ">>> 1", "1"]
    expected = ["Take ``x*y`` or z\\_.", "", "::", "", "    probe.run(x)", "", ">>> 1", "1", ""]
    assert probe_docstrings.to_rst(lines) == expected


def test_the_table_of_methods_has_every_analysis_attack_and_attribution_method() -> None:
    rows = [row for room in probe_reference.ROOMS for row in probe_reference.methods_rows(room)]
    assert len(rows) == len(catalogue()) + len(ATTACKS.catalogue) + len(METHODS.catalogue)
    assert all(all(cell for cell in row) for row in rows)
    pgd = next(row for row in rows if "probe.adversarial.PGD" in row[3])
    assert "https://arxiv.org/abs/1706.06083" in pgd[1]
    assert {"robustness", "transferability", "attack-path"} <= set(re.findall(r"<analysis-([\w-]+)>", pgd[2]))


def test_the_reference_has_a_page_for_every_field() -> None:
    for room in probe_reference.ROOMS:
        assert f".. probe-analyses:: {room}" in (DOCS / "api" / "analyses" / f"{room}.rst").read_text()
    described = {name for room in probe_reference.ROOMS for name, _ in probe_reference.analyses(room)}
    assert described == set(catalogue())


def test_a_parameter_is_described_by_its_default_type_and_bounds() -> None:
    fields = dict(probe_reference.analyses("adversarial"))["fgsm"].model_fields
    assert probe_reference._default(fields["eps"]) == "8/255"
    assert probe_reference._allowed(fields["eps"]) == "number > 0, ≤ 1"
    assert probe_reference._allowed(fields["examples"]) == "whole number ≥ 1, ≤ 20"


def test_links_in_pages_lead_to_files() -> None:
    for page in DOCS.rglob("*.md"):
        if "_build" in page.parts:
            continue
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            generated = target.replace("auto_gallery", "gallery").replace("auto_stories", "stories")
            names = [target, *(str(Path(generated).with_suffix(suffix)) for suffix in (".py", ".md", ".rst"))]
            assert any((page.parent / name).exists() for name in names) or target.endswith("index.rst"), (
                f"{page.name}: {target}"
            )


def test_configuration_asks_nothing_of_the_network() -> None:
    settings: dict[str, object] = {}
    source = (DOCS / "conf.py").read_text(encoding="utf-8")
    exec(compile(source, str(DOCS / "conf.py"), "exec"), {"__file__": str(DOCS / "conf.py")}, settings)
    assert "sphinx.ext.intersphinx" not in settings["extensions"]
    assert settings["html_math_renderer"] == "mathml"
    assert "://" not in source


def test_what_a_page_loads_from_another_site_is_noticed() -> None:
    page = """<a href="https://arxiv.org/abs/1">paper</a> <img src="a.png"> <script src="data:,"></script>
        <link rel="stylesheet" href="//fonts.org/a.css"> <style>@import "https://b.org/b.css"; p { background: url(c.png) }</style>"""
    assert offline.loaded_addresses(page) == ["//fonts.org/a.css", "https://b.org/b.css"]
