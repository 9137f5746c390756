"""A folder is written by one process at a time, and a claim ends with its process."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from probe.claims import claimed
from probe.errors import UserError

HOLD = """
import sys, time
from pathlib import Path
from probe.claims import claimed
with claimed(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "out"
    with subprocess.Popen([sys.executable, "-c", HOLD, folder], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        (folder / "begun").touch()
        with pytest.raises(UserError, match=f"another process is writing to {folder}"), claimed(folder):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    with claimed(folder):
        pass
    assert [path.name for path in folder.iterdir()] == ["begun"]


def test_a_folder_in_which_nothing_was_written_is_removed_again(tmp_path: Path) -> None:
    def fail() -> None:
        with claimed(tmp_path / "out"):
            assert (tmp_path / "out").is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file cannot be written"), claimed(tmp_path / "file"):
        pass
