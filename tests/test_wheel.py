"""The wheel that is built from the tree writes a report in a new environment, from an empty folder."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HOME = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(out),
        str(HOME),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode and "hatchling" in done.stderr:
        pytest.skip("hatchling cannot be had here, so no wheel can be built")
    assert done.returncode == 0, done.stderr
    return next(out.glob("cnn_probe-*.whl"))


@pytest.mark.slow
def test_the_wheel_contains_recipes_templates_and_models_but_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    for wanted in (
        "reports/recipes/quick.toml",
        "reports/templates/report.html.j2",
        "pretrained/lenet5-digits/card.toml",
    ):
        assert f"probe/_bundle/{wanted}" in names
    assert not [name for name in names if name.startswith("tests/")]


@pytest.mark.slow
def test_the_installed_wheel_writes_a_report_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    # The packages that it needs are taken from this environment; probe itself is not: only the wheel's files are.
    environment, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    library = next(environment.glob("lib/python*/site-packages"))
    ours = [p for p in sys.path if p.endswith("site-packages")]
    (library / "packages.pth").write_text("\n".join(ours) + "\n")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--target",
        str(library),
        str(wheel),
    ]
    subprocess.run(install, check=True, capture_output=True)
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(environment / "bin" / "python"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=empty, env=variables)

    where = run("-c", "import probe; print(probe.__file__)")
    assert str(library) in where.stdout, where.stdout + where.stderr
    done = run("-m", "probe", "report")
    assert done.returncode == 0, done.stderr
    page = empty / done.stdout.strip().split("report: ")[1]
    assert 10_000 < page.stat().st_size < 10_000_000
