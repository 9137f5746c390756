"""One process at a time writes into a folder, and a lock ends with its process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from probe.data.sources import open_images
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.loading import load
from probe.reporting.recipes import Recipe
from probe.reporting.report import report
from probe.runs.execute import make_analysis
from probe.training.config import TrainingConfig
from probe.training.request import TrainingRequest
from probe.training.train import run_training
from probe.training.transfer.config import TransferConfig, TransferRequest
from probe.training.transfer.run import run_transfer

SMALL = Recipe(title="small", analyses=(make_analysis("filters"),))

HOLD = """
import sys, time
from pathlib import Path
from probe.locks import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        for _ in range(2):  # a refusal changes neither the folder, which is empty, nor its lock
            with pytest.raises(UserError, match=f"another process is writing to {folder}"), exclusive(folder):
                pass
            assert folder.is_dir()
        (folder / "begun").touch()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with exclusive(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["begun"]


def test_a_created_folder_that_stays_empty_is_removed(tmp_path: Path) -> None:
    def fail() -> None:
        with exclusive(tmp_path / "out"):
            assert (tmp_path / "out").is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / "out").exists()


def test_an_existing_folder_stays(tmp_path: Path) -> None:
    with exclusive(tmp_path):
        pass
    assert tmp_path.is_dir()


def test_a_folder_that_cannot_be_created_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file cannot be written"), exclusive(tmp_path / "file"):
        pass


def _report(out: Path) -> None:
    report(load("lenet5-digits", device="cpu"), open_images("digits:test").take(20), SMALL, out=out)


@pytest.mark.parametrize(
    "write",
    [
        lambda out: run_training(
            TrainingRequest("lenet5", "digits", out, TrainingConfig(epochs=1)), device="cpu", quiet=True
        ),
        lambda out: run_transfer(
            TransferRequest("lenet5-digits", "digits", out, TransferConfig(n=20, epochs=1)),
            device="cpu",
            quiet=True,
        ),
        _report,
    ],
    ids=["train", "transfer", "report"],
)
def test_every_command_locks_the_folder_that_it_writes(write, tmp_path: Path) -> None:
    locked = tmp_path / "out"
    if write is _report:  # which locks the directory of its run, in --out
        _report(tmp_path)
        (locked,) = tmp_path.iterdir()
    with exclusive(locked), pytest.raises(UserError, match="another process is writing"):
        write(tmp_path if write is _report else locked)
