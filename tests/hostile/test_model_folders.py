"""Model folders and checkpoints that were made to run code or to exhaust memory are refused in one line."""

import io
import json
import os
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

import probe
from probe.errors import UserError
from probe.model.checkpoints import read_state
from probe.model.importing import AdoptOptions, adopt
from probe.model.loading import load
from probe.model.trust import record_path, trusted
from tests.memory import peak_memory, restart_peak

CODE = """
from pathlib import Path
from torch import nn
Path(__file__).with_name("canary").touch()
def make(classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, classes))
"""


@pytest.fixture(autouse=True)
def configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


def state() -> dict[str, torch.Tensor]:
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 4)).state_dict()


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A model that its user adopted with a file of theirs; the code has run once, and the canary is removed."""
    (tmp_path / "net.py").write_text(CODE)
    torch.save(state(), tmp_path / "net.pth")
    options = AdoptOptions(arch=f"{tmp_path / 'net.py'}:make", size=8)
    adopt(tmp_path / "net.pth", options, tmp_path / "own")
    (tmp_path / "canary").unlink()
    return tmp_path / "own"


@pytest.fixture
def sent(own: Path, tmp_path: Path) -> Path:
    """The same folder as somebody else might send it, with its code beside its card."""
    folder = tmp_path / "sent"
    folder.mkdir()
    for file in own.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "evil.py").write_text(CODE)
    card = (own / "card.toml").read_text()
    (folder / "card.toml").write_text(card.replace(f"{tmp_path / 'net.py'}:make", "evil.py:make"))
    return folder


def test_a_folder_that_was_sent_runs_nothing_and_says_what_it_would_run(sent: Path) -> None:
    for command in (
        ["layers", str(sent)],
        ["classify", "--model", str(sent), "--data", "digits", "--n", "10"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "probe", *command],
            capture_output=True,
            text=True,
            cwd=Path(probe.__file__).parents[1],
        )
        assert done.returncode == 2, done.stdout + done.stderr
        assert "would run the Python code in" in done.stderr
        assert "--trust-code" in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
    assert not (sent / "canary").exists()


def test_code_runs_once_it_is_trusted_and_asks_again_when_it_changes(sent: Path) -> None:
    assert load(sent, trust_code=True).classes[0] == "class 0"
    assert (sent / "canary").exists()
    (sent / "canary").unlink()
    load(sent)
    assert (sent / "canary").exists()
    (sent / "evil.py").write_text(CODE + "# changed\n")
    (sent / "canary").unlink()
    with pytest.raises(UserError, match="has changed since it was trusted"):
        load(sent)
    assert not (sent / "canary").exists()


def test_what_its_user_adopted_loads_without_being_asked_again(own: Path) -> None:
    assert load(own).classes[0] == "class 0"
    assert not record_path().is_relative_to(own)


def test_nothing_runs_for_a_model_whose_weights_are_wrong(sent: Path) -> None:
    (sent / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(UserError, match="is not the file that its card describes"):
        load(sent, trust_code=True)
    assert not (sent / "canary").exists()


def test_a_damaged_record_of_trust_trusts_nothing(own: Path, tmp_path: Path) -> None:
    record_path().write_text("{")
    assert not trusted(tmp_path / "net.py")
    with pytest.raises(UserError, match="is not trusted"):
        load(own)


def safetensors(header: dict[str, object], content: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + content


def zip_bomb() -> bytes:
    """A checkpoint whose one storage inflates to 256 MiB."""
    plain, bomb = io.BytesIO(), io.BytesIO()
    torch.save({"weight": torch.zeros(4)}, plain)
    with zipfile.ZipFile(plain) as archive, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as compressed:
        for entry in archive.infolist():
            content = archive.read(entry)
            compressed.writestr(entry.filename, bytes(2**28) if "/data/" in entry.filename else content)
    return bomb.getvalue()


def saved(value: object) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


HOSTILE = {
    "a row for every class.safetensors": lambda: safetensors(
        {"weight": {"dtype": "F32", "shape": [1_000_000_000, 0], "data_offsets": [0, 0]}}
    ),
    "expanded.pth": lambda: saved({"weight": torch.zeros(1).expand(100_000_000)}),
    "meta.pth": lambda: saved({"weight": torch.empty(1_000_000_000, device="meta")}),
    "sparse.pth": lambda: saved({"weight": torch.eye(3).to_sparse()}),
    "csr.pth": lambda: saved({"weight": torch.eye(3).to_sparse_csr()}),
    "bomb.pth": zip_bomb,
}


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_checkpoint_that_claims_more_than_it_holds_is_refused_before_memory_is_taken(
    name: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(HOSTILE[name]())
    restart_peak()
    before = peak_memory()
    with pytest.raises(UserError, match=r"^[^\n]+$"):
        read_state(path)
    assert peak_memory() - before < 200e6


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
@pytest.mark.parametrize("kind", ["fifo", "device", "link to a device", "link to a fifo"])
@pytest.mark.parametrize("role", ["checkpoint", "classes", "card"])
def test_what_is_no_regular_file_is_not_opened(kind: str, role: str, tmp_path: Path) -> None:
    special = tmp_path / "special.pth"
    if "fifo" in kind:
        os.mkfifo(tmp_path / "fifo")
    target = tmp_path / "fifo" if "fifo" in kind else Path("/dev/zero")
    if "link" in kind or kind == "device":
        special.symlink_to(target)
    else:
        os.mkfifo(special)
    torch.save(state(), tmp_path / "net.pth")
    options = AdoptOptions(arch="zoo:lenet5", classes=special if role == "classes" else None)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "card.toml").symlink_to(special)

    def opened() -> object:
        if role == "card":
            return load(tmp_path / "folder")
        return adopt(special if role == "checkpoint" else tmp_path / "net.pth", options, tmp_path / "out")

    with pytest.raises(UserError, match=r"^[^\n]*not a regular file[^\n]*$"):
        opened()
