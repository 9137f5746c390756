"""The examples of docs/howto, dropped in as one file each, appear everywhere without any other edit."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.pages import DOCS, files

HOME = Path(__file__).parents[2]
Run = Callable[..., str]


def example(path: str) -> str:
    """The code that a page of docs/howto shows as the file `path`."""
    (code,) = [shown[path] for page in (DOCS / "howto").glob("own-*.md") if path in (shown := files(page))]
    return code


@pytest.fixture
def run_with(tmp_path: Path) -> Callable[[str], Run]:
    """Drop the example `path` into a copy of the tree; returns what runs a Python module or script there."""
    for part in ("probe", "reports", "pretrained", "tests"):
        shutil.copytree(HOME / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(HOME / "pyproject.toml", tmp_path)

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)},
            capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def drop(path: str) -> Run:
        (tmp_path / path).write_text(example(path), encoding="utf-8")
        return run

    return drop


@pytest.mark.slow
def test_an_analysis_is_found_listed_run_and_tested(run_with: Callable[[str], Run], tmp_path: Path) -> None:
    run = run_with("probe/analyses/inspection/brightness.py")
    assert "brightness" in run("-m", "probe", "list", "analyses")
    assert "--factor" in run("-m", "probe", "brightness", "--help")
    printed = run("-m", "probe", "brightness", "--factor", "1/4", "--device", "cpu")
    assert "unchanged predictions" in printed
    (tmp_path / "recipe.toml").write_text('title = "x"\n[[analysis]]\nname = "brightness"\nfactor = "1/4"\n')
    assert "brightness" in run("-m", "probe", "report", "--recipe", "recipe.toml", "--device", "cpu")
    assert (
        _passed(
            run,
            "tests/contract/test_every_analysis.py",
            "tests/contract/test_captions.py",
            keyword="brightness",
        )
        > 5
    )


IN_EVERY_TABLE = """
import probe
from probe.analyses import find

model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits", n=20)
sizes = {"attribution-tests": {"max_images": 4, "test_images": 2, "stages": 2}}
for analysis in ("attribution", "attribution-tests", "compare"):
    parameters = {"methods": "gradient,vargrad(samples=3)", **sizes.get(analysis, {"examples": 1})}
    compare_to = [model] if analysis == "compare" else []
    result = probe.run(analysis, model, images, compare_to=compare_to, **parameters)
    assert any("vargrad" in key for key in result.numbers), result.numbers
    written = " ".join(str(vars(exhibit)) for exhibit in result.exhibits[:2])
    assert "VarGrad" in written, written
    assert "vargrad" in find(analysis).model_fields["methods"].description
assert "vargrad" in find("attribution-tests")().methods
assert "vargrad" in find("attribution-tests").quick["methods"]
path = probe.run("attack-path", model, images, method="vargrad", max_images=4, grid=5)
assert "VarGrad" in " ".join(exhibit.caption for exhibit in path.exhibits)
print(probe.attribution.VarGrad(samples=5))
"""


@pytest.mark.slow
def test_an_attribution_method_is_listed_and_in_the_flags_tables_and_tests(
    run_with: Callable[[str], Run], tmp_path: Path
) -> None:
    run = run_with("probe/methods/attribution/vargrad.py")
    assert "vargrad" in run("-m", "probe", "list", "methods")
    assert "vargrad" in run("-m", "probe", "attribution", "--help")
    assert run("-c", IN_EVERY_TABLE) == "vargrad(samples=5)\n"
    chosen = ("--model", "lenet5-digits", "--data", "digits", "--n", "20", "--device", "cpu")
    flags = ("--methods", "vargrad(samples=3),gradcam", "--examples", "1", *chosen)
    assert "similarity with the last layer randomised, VarGrad" in run("-m", "probe", "attribution", *flags)
    (tmp_path / "recipe.toml").write_text(
        'title = "x"\n[[analysis]]\nname = "attribution"\nexamples = 1\nmethods = ["vargrad(samples=3)"]\n'
    )
    assert "attribution" in run("-m", "probe", "report", "--recipe", "recipe.toml", *chosen)
    assert _passed(run, "tests/methods/attribution/test_every_method.py", keyword="vargrad") >= 9


ATTACK_IN_EVERY_TABLE = """
import probe
from probe.analyses import find

model, images = probe.load("lenet5-digits", device="cpu"), probe.images("digits", n=30)
attacks = "noise,r-fgsm(alpha=0.3)"
for analysis in ("robustness", "transferability"):
    result = probe.run(analysis, model, images, compare_to=[model], eps=0.1, attacks=attacks)
    written = " ".join(str(vars(exhibit)) for exhibit in result.exhibits)
    assert "R+FGSM" in written, written
    assert "r-fgsm" in find(analysis).model_fields["attacks"].description
    assert any("r_fgsm" in key for key in result.numbers), result.numbers
print(probe.adversarial.RandomFGSM(alpha="1/4"))
"""


@pytest.mark.slow
def test_an_attack_is_listed_and_in_the_flags_tables_and_tests(
    run_with: Callable[[str], Run], tmp_path: Path
) -> None:
    run = run_with("probe/methods/adversarial/random_fgsm.py")
    assert "r-fgsm" in run("-m", "probe", "list", "attacks")
    assert "r-fgsm" in run("-m", "probe", "transferability", "--help")
    assert run("-c", ATTACK_IN_EVERY_TABLE) == "r-fgsm(alpha=0.25)\n"
    flags = ("--model", "lenet5-digits", "--data", "digits", "--n", "20", "--device", "cpu")
    flags += ("--compare-to", "lenet5-digits", "--attacks", "r-fgsm(alpha=0.3, eps=8/255),noise")
    assert "transfer rate of R+FGSM" in run("-m", "probe", "transferability", *flags)
    assert _passed(run, "tests/methods/adversarial/test_every_attack.py", keyword="r-fgsm") >= 4


def _passed(run: Run, *files: str, keyword: str) -> int:
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", *files, "-k", keyword)
    match = re.search(r"\b(\d+) passed", printed)
    assert match, printed
    return int(match[1])
