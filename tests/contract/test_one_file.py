"""An analysis dropped in as one file appears everywhere, without any other edit."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HOME = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_example_of_contributing_is_found_listed_run_and_tested(tmp_path: Path) -> None:
    for part in ("probe", "reports", "pretrained", "tests"):
        shutil.copytree(HOME / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml",):
        shutil.copy(HOME / file, tmp_path)
    guide = (HOME / "CONTRIBUTING.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", guide, flags=re.DOTALL)
    (tmp_path / "probe" / "analyses" / "brightness.py").write_text(example)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *arguments], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "brightness" in run("probe", "list", "analyses")
    assert "--factor" in run("probe", "brightness", "--help")
    printed = run("probe", "brightness", "--factor", "1/4", "--device", "cpu")
    assert "answers that stay" in printed
    (tmp_path / "recipe.toml").write_text('title = "x"\n[[analysis]]\nname = "brightness"\nfactor = "1/4"\n')
    assert "brightness" in run("probe", "report", "--recipe", "recipe.toml", "--device", "cpu")
    tested = run(
        "pytest", "-q", "-p", "no:cacheprovider", "tests/contract/test_every_analysis.py", "-k", "brightness"
    )
    assert re.search(r"\b(\d+) passed", tested)
