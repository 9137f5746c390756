"""The command line as a user types it: outputs, exit codes, errors of one line, no torch before it is needed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import probe
from probe.cli import main
from probe.paths import PRETRAINED

HOME = Path(probe.__file__).parents[1]


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(HOME)}
    return subprocess.run(
        [sys.executable, "-m", "probe", *arguments], capture_output=True, text=True, env=environment, cwd=cwd
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fgms"], "there is no command or analysis 'fgms'. Did you mean fgsm"),
        (["fgsm", "--eps", "8"], "eps must lie in (0, 1], got 8: for eight grey levels write 8/255"),
        (["fgsm", "--eps", "many"], "eps"),
        (["fgsm", "--los", "log-odds"], "`probe fgsm` has no option --los. Did you mean --loss?"),
        (["report", "--eps", "0.1"], "`probe report` has no option --eps: it is a parameter of attack-path"),
        (["report", "--model"], "--model needs a value"),
        (["train", "lenet5"], "`probe train` needs --out"),
        (["report", "--pdf", "yes"], "unexpected argument yes: --pdf takes no value"),
        (["fgsm", "--loss", "cee"], "loss must be one of 'log-odds', 'cross-entropy', got cee"),
        (["embed", "--methods", "isomap"], "there is no method 'isomap'. Did you mean umap?\n"),
        (["fgsm", "--n", "0"], "n must be at least 1, got 0"),
        (["fgsm", "--seed", "-1"], "seed must lie in [0, 9223372036854775807], got -1"),
        (
            ["fgsm", "--model", "lenet5-digit"],
            "there is no model 'lenet5-digit'. Did you mean lenet5-digits",
        ),
        (["fgsm", "--data", "digitz"], "there is no data source 'digitz'. Did you mean digits"),
        (["fgsm", "--data", "digits:tset"], "Did you mean test"),
        (["fgsm", "--device", "gpu"], "device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        (
            ["activations", "--model", "lenet5-digits", "--layers", "conv11"],
            "there is no layer 'conv11'. Did you mean",
        ),
        (["report", "--recipe", "quik"], "there is no recipe 'quik'. Did you mean quick"),
        (["report", "extra"], "unexpected argument extra: `probe report --help` lists the arguments"),
        (["report", "--data", "my", "photos"], "unexpected argument photos: `probe report --help`"),
        (["fgsm", "--eps", "0.1", "0.2", "--n", "3"], "a path with spaces needs quotes"),
        (["train", "lenet5", "digits", "--out", "new"], "`probe train --help` lists the arguments"),
        (["train", "lenet5", "--augment", "crop,", "flip", "--out", "new"], "commas, --augment crop,flip\n"),
        (
            ["adopt", "x.pt", "--arch", "zoo:lenet5", "--out", "new", "--mean", "0", "0"],
            "commas, --mean 0,0\n",
        ),
        (["list", "analysis"], "analyses"),
        (
            ["adopt", "nothing.pth", "--arch", "zoo:lenet5", "--out", "new"],
            "there is no checkpoint nothing.pth",
        ),
        (["train", "lenet6", "--out", "new"], "Did you mean lenet5"),
        (["train", "text-convnet", "--out", "new"], "probe has no texts"),
        (["train", "lenet5", "--augment", "whitening", "--out", "new"], "use --whiten"),
        (["transfer", "nothing", "--out", "new"], "there is no model 'nothing'"),
        (["transfer", "lenet5-digits", "--augment", "filp", "--out", "new"], "Did you mean flip"),
        (["layers", "nothing"], "there is no model 'nothing'"),
    ],
)
def test_a_user_error_is_one_line_and_exit_code_two(
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert not list(tmp_path.glob("*/*")), "an empty run directory was left behind"


def test_an_internal_error_has_exit_code_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import probe.cli.commands

    def broken(what: str) -> dict[str, str]:
        raise RuntimeError("on purpose")

    monkeypatch.setattr(probe.cli.commands, "listed", broken)
    assert main(["list", "data"]) == 1
    assert "internal error: RuntimeError: on purpose" in capsys.readouterr().err


def test_an_interruption_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import probe.cli.commands

    def interrupted(what: str) -> dict[str, str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(probe.cli.commands, "listed", interrupted)
    assert main(["list", "data"]) == 130
    assert "interrupted: finished parts were kept" in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written_is_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    assert main(["filters", "--out", str(tmp_path / "file" / "runs"), "--device", "cpu"]) == 2
    assert "file" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_finished_parts_stay(capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    from probe.cli import report_error

    with pytest.raises(OSError) as full, open("/dev/full", "w") as file:
        file.write("x" * 100_000)
    assert report_error(full.value) == 2
    assert "no space left on the disk" in capsys.readouterr().err


def test_lists_name_what_is_available(capsys: pytest.CaptureFixture[str]) -> None:
    for what, expected in {
        "analyses": "fgsm",
        "data": "digits",
        "architectures": "resnet56",
        "recipes": "quick",
        "models": "lenet5-digits",
    }.items():
        assert main(["list", what]) == 0
        assert expected in capsys.readouterr().out


def test_layers_lists_addresses_shapes_and_receptive_fields(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "lenet5-digits"]) == 0
    printed = capsys.readouterr().out
    for word in ("conv1", "6 x 28 x 28", "5 x 5", "61,706 parameters"):
        assert word in printed


def test_help_and_names_need_no_torch() -> None:
    code = (
        "import sys; import probe; from probe.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "main(['fgms']); main(['list', 'analyses']); main(['list', 'data']); main(['list', 'architectures'])\n"
        "assert 'torch' not in sys.modules and 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME)
    assert done.returncode == 0, done.stderr


def test_help_and_a_mistyped_name_are_printed_at_once() -> None:
    # Processor time, which a busy machine stretches less than the clock; a bare interpreter takes about 0.03 s.
    def seconds(*command: str) -> float:
        times = []
        for _ in range(7):
            start = os.times()
            subprocess.run([sys.executable, *command], capture_output=True, cwd=HOME)
            end = os.times()
            spent = end.children_user + end.children_system - start.children_user - start.children_system
            times.append(spent)
        return min(times)

    bare = seconds("-c", "pass")
    assert seconds("-c", "import probe") < bare + 0.3
    assert seconds("-m", "probe", "--help") < bare + 0.5
    assert seconds("-m", "probe", "fgms") < bare + 0.5


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == probe.__version__


def test_a_report_is_quiet_in_a_pipe_and_prints_its_path(tmp_path: Path) -> None:
    done = run("filters", "--device", "cpu", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    # On a busy machine it takes longer than the seconds after which a line says that it goes on.
    assert all(": running for " in line for line in done.stderr.splitlines()), done.stderr
    page = Path(tmp_path, done.stdout.strip().split("report: ")[1])
    assert page.read_text().startswith("<!doctype html>") or "<html" in page.read_text()[:200]
    again = run("filters", "--device", "cpu", cwd=tmp_path)
    assert "filters (reused)" in again.stdout


def test_a_training_ends_with_its_results_labelled_and_formatted(tmp_path: Path) -> None:
    command = ["train", "lenet5-relu", "--epochs", "1", "--device", "cpu", "--out", "net"]
    done = run(*command, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    test, training, model = done.stdout.splitlines()
    assert re.fullmatch(
        r"test accuracy: [\d.]+% \(95% interval [\d.]+% to [\d.]+%, 450 images of digits:test\)", test
    )
    assert re.fullmatch(r"training accuracy: [\d.]+% \(1,347 images\)", training)
    assert model == "model: net"
    again = run(*command, cwd=tmp_path)
    assert again.stdout == done.stdout
    assert "already holds the finished result of this command" in again.stderr


def test_files_that_were_skipped_are_counted_on_the_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from PIL import Image

    (tmp_path / "photos").mkdir()
    Image.new("RGB", (40, 40), (200, 30, 30)).save(tmp_path / "photos" / "red.png")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no picture")
    assert main(["classify", "--data", f"folder:{tmp_path / 'photos'}", "--out", str(tmp_path / "runs")]) == 0
    captured = capsys.readouterr()
    assert "1 file could not be read and was skipped: broken.png" in captured.out
    assert captured.err == ""


def test_every_pretrained_model_loads_and_predicts() -> None:
    import torch

    names = sorted(path.parent.name for path in PRETRAINED.glob("*/card.toml"))
    assert names
    for name in names:
        model = probe.load(name, device="cpu")
        assert model.name == name
        logits = model.logits(torch.rand(2, *model.shape, generator=torch.Generator().manual_seed(0)))
        assert logits.shape == (2, len(model.classes))
        assert torch.isfinite(logits).all()
        assert model.card.weights.sha256


def test_an_analysis_of_the_network_alone_loads_no_images_unless_they_are_requested(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["architecture", "--model", "lenet5-digits", "--out", str(tmp_path)]
    assert main(command) == 0
    assert "images:" not in capsys.readouterr().out
    (page,) = tmp_path.glob("*/report.html")
    assert "examine only the network" in page.read_text()
    assert main([*command, "--data", "digitz"]) == 2
    assert "Did you mean digits" in capsys.readouterr().err
    assert main([*command, "--labels", "nothing.csv"]) == 2
    assert "can only be set for folder:PATH" in capsys.readouterr().err
    assert main([*command, "--data", "shapes"]) == 0
    assert len(list(tmp_path.glob("*shapes*/report.html"))) == 1
