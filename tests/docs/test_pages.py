"""What the pages of the documentation show is what happens: their files, Python, commands and what these print."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from probe.reporting.recipes import read_recipe
from tests.docs.pages import DOCS, HOME, fences, files, run_page

PAGES = sorted(
    page
    for page in [*DOCS.glob("*.md"), *DOCS.glob("howto/*.md")]
    if any(fence.kind in ("python", "sh") and not fence.file for fence in fences(page))
)
DROPPED_IN = [page for page in PAGES if any(file.startswith("probe/") for file in files(page))]
"""Pages with a file that the reader saves in a checkout of probe."""
QUICK = {"notebook.md", "own-data.md", "ci.md"}
"""Pages that take a second or two."""


def _params(pages: list[Path]) -> list:
    slow = [[] if page.name in QUICK else [pytest.mark.slow] for page in pages]
    names = [page.relative_to(DOCS).as_posix() for page in pages]
    return [pytest.param(*row[:1], marks=row[1], id=row[2]) for row in zip(pages, slow, names, strict=True)]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as a reader has it: no data sets, no record of trusted code."""
    monkeypatch.delenv("PROBE_DATA", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / ".config"))
    return tmp_path


@pytest.mark.parametrize("page", _params([page for page in PAGES if page not in DROPPED_IN]))
def test_a_page_runs_and_prints_what_it_says(page: Path, elsewhere: Path) -> None:
    assert run_page(page, elsewhere)


@pytest.mark.parametrize("page", _params(DROPPED_IN))
def test_the_file_of_a_page_is_dropped_into_a_checkout_and_works(page: Path, elsewhere: Path) -> None:
    for part in ("probe", "tests"):
        shutil.copytree(HOME / part, elsewhere / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("reports", "pretrained", "apps", "docs", "pyproject.toml"):
        (elsewhere / part).symlink_to(HOME / part)
    for file, text in files(page).items():
        (elsewhere / file).write_text(text, encoding="utf-8")
    code = f"from pathlib import Path; from tests.docs.pages import run_page; assert run_page(Path({str(page)!r}), Path())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=elsewhere, env=os.environ | {"PYTHONPATH": str(elsewhere)},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_section_of_the_default_report_is_explained() -> None:
    page = (DOCS / "start.md").read_text(encoding="utf-8").split("## Read the page")[1]
    explained = re.findall(r"^([a-z-]+)\n: ", page, flags=re.MULTILINE)
    assert explained == [analysis.name for analysis in read_recipe("quick").analyses]
