"""Images decoded in processes are those decoded in threads, and no process is left behind."""

import io
import os
import signal
import subprocess
import sys
import time
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probe.data import decoders
from probe.data.decoders import DECODERS, Decoders
from probe.data.file_store import FileStore, decoding_processes
from probe.data.images import Images
from probe.data.preprocess import Preprocess
from probe.data.sources import open_images
from probe.errors import UserError
from tests.processes import alive

linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks up processes in /proc")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Colour, grey and transparent images of several sizes and formats."""
    path = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    for index in range(40):
        size = (20 + index % 7, 30 - index % 5, 3)
        mode, kind = (("RGB", "jpeg"), ("L", "png"), ("RGBA", "png"), ("RGB", "webp"))[index % 4]
        image = Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).convert(mode)
        image.save(path / f"{index:02}.{kind}")
    return path


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Two processes from the first image on, and none afterwards."""
    monkeypatch.setenv("PROBE_DECODERS", "2")
    monkeypatch.setattr(decoders, "_AFTER", -1.0)
    yield
    DECODERS.close()
    assert not DECODERS.pids()


def decoded(images: Images) -> list[torch.Tensor]:
    assert isinstance(images.store, FileStore)
    return list(images.store.decoded(images.rows, images.preprocess))


def started(images: Images) -> list[int]:
    """The processes, once both are ready."""
    decoded(images)
    end = time.monotonic() + 30
    while time.monotonic() < end and len(DECODERS._free) < 2:
        time.sleep(0.01)
    assert len(DECODERS.pids()) == 2
    return DECODERS.pids()


def _refuse(*_: object, **__: object) -> None:
    raise AssertionError("decoded here")


def wait_for_end(pids: list[int], seconds: float = 5) -> None:
    end = time.monotonic() + seconds
    while any(map(alive, pids)):
        assert time.monotonic() < end, "a process that decodes is left"
        time.sleep(0.02)


def test_processes_give_the_bytes_of_threads(
    folder: Path, tmp_path: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = tmp_path / "set.zip"
    with zipfile.ZipFile(packed, "w") as out:
        for file in sorted(folder.iterdir()):
            out.write(file, f"test/{file.name}")
    rule = Preprocess.parse("resize 24, centre crop 20")
    plain = open_images(f"folder:{folder}")
    monkeypatch.setenv("PROBE_DECODERS", "0")
    assert isinstance(plain.store, FileStore)
    expected = [*decoded(plain), *plain.store.decoded(plain.rows, rule)]
    assert not DECODERS.pids()
    monkeypatch.setenv("PROBE_DECODERS", "2")
    for images in (plain, open_images(f"folder:{packed}/test")):
        started(images)
        with monkeypatch.context() as here:
            here.setattr(FileStore, "_decoded_here", _refuse)  # every image is decoded by a process
            assert isinstance(images.store, FileStore)
            got = [*decoded(images), *images.store.decoded(images.rows, rule)]
        assert all(map(torch.equal, got, expected))
        assert [tensor.stride() for tensor in got] == [tensor.stride() for tensor in expected]
        DECODERS.close()


def test_a_file_that_becomes_corrupt_has_the_error_of_threads(
    folder: Path, tmp_path: Path, processes: None
) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    images = open_images(f"folder:{tmp_path}")
    started(images)
    (tmp_path / "20.jpeg").write_bytes((tmp_path / "20.jpeg").read_bytes()[:200])
    with pytest.raises(
        UserError, match=r"20\.jpeg could not be decoded \(.+\): repair or remove it"
    ) as caught:
        decoded(images)
    assert "\n" not in str(caught.value)
    assert "20.jpeg" in open_images(f"folder:{tmp_path}").notes[0]


def test_a_zip_that_is_replaced_is_read_as_it_was_opened(tmp_path: Path, processes: None) -> None:
    def write(value: int) -> None:
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as out:
            for index in range(30):
                content = io.BytesIO()
                Image.new("L", (9, 9), value).save(content, "PNG")
                out.writestr(f"{index}.png", content.getvalue())
        (tmp_path / "new.zip").rename(tmp_path / "set.zip")

    write(10)
    before = open_images(f"folder:{tmp_path}/set.zip")
    started(before)
    write(20)
    after = open_images(f"folder:{tmp_path}/set.zip")
    assert {int(pixels.max()) for pixels in decoded(before)} == {10}
    assert {int(pixels.min()) for pixels in decoded(after)} == {20}


@linux
def test_a_process_that_is_killed_costs_no_image(folder: Path, processes: None) -> None:
    images = open_images(f"folder:{folder}")
    expected = decoded(images)
    pids = started(images)
    os.kill(pids[0], signal.SIGKILL)
    for _ in range(3):
        assert all(map(torch.equal, decoded(images), expected))
    assert len(DECODERS._free) == 1, "nothing is sent to a process that has ended"
    os.kill(pids[1], signal.SIGKILL)
    assert all(map(torch.equal, decoded(images), expected))
    wait_for_end(pids)


@linux
def test_a_process_that_hangs_is_ended_and_costs_no_image(
    folder: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_IDLE", 0.3)
    images = open_images(f"folder:{folder}")
    expected = decoded(images)
    pids = started(images)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    assert all(map(torch.equal, decoded(images), expected))
    wait_for_end(pids)


@linux
def test_processes_that_hang_while_they_start_are_ended_with_this_one(
    folder: Path, tmp_path: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = tmp_path / "python"
    hanging.write_text("#!/bin/sh\nexec sleep 60\n")
    hanging.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(hanging))
    assert len(decoded(open_images(f"folder:{folder}"))) == 40
    while len(pids := DECODERS.pids()) < 2:
        time.sleep(0.02)
    start = time.monotonic()
    DECODERS.close()
    assert time.monotonic() < start + 5
    wait_for_end(pids)


@linux
def test_processes_end_when_there_is_no_work(
    folder: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_IDLE", 0.3)
    images = open_images(f"folder:{folder}")
    pids = started(images)
    assert isinstance(images.store, FileStore)
    stream = images.store.decoded(images.rows)
    next(stream)
    stream.close()  # as where the one who takes the images raises an error
    wait_for_end(pids)
    DECODERS.close()
    assert DECODERS._seconds == 0, "new ones are started after two more seconds"
    assert len(decoded(images)) == 40


def test_decoding_counts_as_work(folder: Path, processes: None) -> None:
    images = open_images(f"folder:{folder}")
    started(images)
    before = time.monotonic()
    decoded(images)
    assert before < DECODERS._latest < time.monotonic(), "after which the processes wait for more"


def test_processes_are_started_after_seconds_of_decoding_and_not_before(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Decoders()
    monkeypatch.setenv("PROBE_DECODERS", "1")
    monkeypatch.setattr("probe.data.file_store.DECODERS", own)
    images = open_images(f"folder:{folder}")
    decoded(images)
    assert own._keeper is None
    assert 0 < own._seconds < 2
    own._seconds = 2.0
    decoded(images)
    assert own._keeper is not None
    own.close()


def test_large_images_are_decoded_one_at_a_time_in_this_process(
    folder: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(f"folder:{folder}")
    started(images)
    expected = decoded(images)
    monkeypatch.setattr("probe.data.file_store.LARGE", 0)
    monkeypatch.setattr(Decoders, "_by_process", _refuse)
    assert all(map(torch.equal, decoded(images), expected))


def test_what_no_process_can_do_is_done_in_threads(
    folder: Path, processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = open_images(f"folder:{folder}")
    expected = decoded(images)
    for executable in ("", "/bin/false", "/nowhere/python"):
        DECODERS.close()
        other = Decoders()
        monkeypatch.setattr(sys, "executable", executable)
        monkeypatch.setattr("probe.data.file_store.DECODERS", other)
        for _ in range(3):
            assert all(map(torch.equal, decoded(images), expected))
            if other._keeper is not None:
                other._keeper.join(10)
        assert other._unusable
        assert not other.pids()
    in_memory = open_images([Image.new("L", (9, 8 + index)) for index in range(20)])
    assert len(decoded(in_memory)) == 20


@linux
def test_a_forked_process_does_not_use_the_pipes_of_its_parent(folder: Path, processes: None) -> None:
    images = open_images(f"folder:{folder}")
    started(images)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forking beside threads
        child = os.fork()
    if child == 0:
        os._exit(len(DECODERS._free) + len(DECODERS.pids()))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(decoded(images)) == 40
    assert len(DECODERS.pids()) == 2


SCRIPT = """
import os, sys, time
os.environ["PROBE_DECODERS"] = "2"
import probe
from probe.data import decoders
decoders._AFTER = -1.0
images = probe.images("folder:" + sys.argv[1])
list(images.store.decoded(images.rows))
while len(decoders.DECODERS._free) < 2:
    time.sleep(0.01)
print(*decoders.DECODERS.pids(), flush=True)
for image in images.store.decoded(images.rows):
    if sys.argv[2] == "raises":
        raise SystemExit(3)
    while sys.argv[2] == "waits":
        time.sleep(0.1)
"""


@linux
@pytest.mark.parametrize(
    "stop",
    [
        None,
        signal.SIGKILL,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_no_process_outlives_the_one_that_started_it(folder: Path, stop: signal.Signals | None) -> None:
    """A script without `if __name__ == "__main__"`, which ends by an exception or by a signal."""
    command = [sys.executable, "-c", SCRIPT, str(folder), "waits" if stop else "raises"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        if stop:
            os.kill(process.pid, stop)
        try:
            process.wait(30)
        finally:
            process.kill()
        wait_for_end(pids, 2)
        assert stop or process.returncode == 3


@pytest.mark.parametrize("text", ["-1", "two", "1e3", "9999"])
def test_a_number_of_processes_that_is_none_is_refused_in_one_line(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROBE_DECODERS", text)
    with pytest.raises(UserError, match=f"PROBE_DECODERS must be a whole number, 0 to 256, got '{text}'"):
        decoding_processes()


@pytest.mark.parametrize(
    ("cores", "on_this_machine", "count"), [(8, None, 8), (8, 4, 2), (8, 8, 0), (1, None, 0), (2, None, 2)]
)
def test_there_is_a_process_for_each_core_if_a_training_process_has_several(
    cores: int, on_this_machine: int | None, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PROBE_DECODERS", raising=False)
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    if on_this_machine:
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(on_this_machine))
    monkeypatch.setattr("probe.data.file_store._workers", lambda: cores)
    assert decoding_processes() == count
    for chosen in (0, 3, 256):
        monkeypatch.setenv("PROBE_DECODERS", str(chosen))
        assert decoding_processes() == chosen
