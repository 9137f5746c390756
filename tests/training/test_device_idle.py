"""The idle fraction of a device: by hand, with a fake recorder, and on a CUDA device where there is one."""

import time

import pytest
import torch

from probe.data.images import Images
from probe.precision import choose_precision
from probe.training.config import TrainingConfig
from probe.training.datasets import Datasets, DeviceDataset, Normalisation
from probe.training.device_idle import IdleMonitor, Recorder, idle_fraction
from probe.training.history import read_history, write_history
from probe.training.progress import format_epoch
from probe.training.save import history_of
from probe.training.trainer import Trainer
from probe.zoo import build

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("intervals", "fraction"),
    [
        ([(0, 1)], 0),
        ([(2, 3), (0, 1)], 1 / 3),
        ([(0, 4), (1, 2), (3, 6)], 0),
        ([(0, 10), (2, 3), (12, 16)], 2 / 16),
        ([], None),
        ([(5, 5)], None),
    ],
)
def test_the_idle_fraction_is_the_part_of_the_time_that_no_work_covers(intervals, fraction):
    assert idle_fraction(intervals) == pytest.approx(fraction)


class FakeRecorder(Recorder):
    """Logs when it is started and read."""

    log: list[str] = []

    def __init__(self) -> None:
        self.log.append("start")

    def intervals(self) -> list[tuple[float, float]]:
        self.log.append("stop")
        return [(0, 3), (4, 5)]


@pytest.mark.parametrize(
    ("steps", "log"),
    [
        (4, ["0", "1", "2", "3"]),
        (8, ["0", "1", "2", "3", "4", "start", "5", "6", "7", "stop"]),
        (15, [*"01234", "start", "5", "6", "7", "8", "9", "10", "11", "12", "stop", "13", "14"]),
    ],
)
def test_some_steps_after_the_first_ones_are_recorded_and_all_batches_pass(steps, log):
    FakeRecorder.log = []
    monitor = IdleMonitor(CPU, recorder=FakeRecorder)
    for batch in monitor.watch(range(steps)):
        FakeRecorder.log.append(str(batch))
    assert FakeRecorder.log == log
    assert monitor.idle == (pytest.approx(0.2) if "stop" in log else None)


class BrokenRecorder(FakeRecorder):
    def intervals(self) -> list[tuple[float, float]]:
        raise RuntimeError("another profiler is active")


def test_an_error_of_the_recorder_ends_no_training_and_its_time_is_counted_apart():
    monitor = IdleMonitor(CPU, recorder=BrokenRecorder)
    assert list(monitor.watch(range(15))) == list(range(15))
    assert monitor.idle is None
    assert monitor.overhead > 0


def images(count: int) -> Images:
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=rng)
    return Images.from_tensor(raw, torch.arange(count) % 10, classes=tuple("abcdefghij"))


def make_trainer(name: str, device: torch.device, count: int, batch_size: int = 128) -> Trainer:
    datasets = Datasets(DeviceDataset(images(count), device), DeviceDataset(images(100), device))
    config = TrainingConfig(epochs=3, batch_size=batch_size, augment=("crop", "flip"))
    normalisation = Normalisation((0.5,) * 3, (0.25,) * 3)
    return Trainer(build(name), datasets, config, normalisation, precision=choose_precision("auto", device))


def test_on_a_cpu_no_idle_fraction_is_reported(tmp_path):
    trainer = make_trainer("cifar-convnet-gmp", CPU, 100, batch_size=10)
    epoch = trainer.epoch()
    assert epoch.device_idle is None
    assert "idle" not in format_epoch(epoch, 3)
    write_history(history_of(trainer), tmp_path)
    assert "idle" not in (tmp_path / "history.csv").read_text() + (tmp_path / "history.json").read_text()


def test_the_idle_fraction_is_in_the_line_and_the_history_of_the_epoch(tmp_path):
    trainer = make_trainer("cifar-convnet-gmp", CPU, 100, batch_size=10)
    trainer.epochs = [trainer.epoch().model_copy(update={"device_idle": 0.125})]
    assert format_epoch(trainer.epochs[0], 3).endswith("images/s, device idle 12%")
    write_history(history_of(trainer), tmp_path)
    assert read_history(tmp_path).epochs[0].device_idle == 0.125
    assert "device_idle" in (tmp_path / "history.csv").read_text().splitlines()[0]


@pytest.mark.cuda
def test_a_recorder_distinguishes_a_busy_device_from_an_idle_one():
    device = torch.device("cuda")
    x = torch.randn(4096, 4096, device=device)

    def fraction(pause: float) -> float:
        torch.cuda.synchronize()
        recorder = Recorder()
        for _ in range(10):
            for _ in range(5):
                x @ x
            if pause:
                torch.cuda.synchronize()
                time.sleep(pause)
        torch.cuda.synchronize()
        idle = idle_fraction(recorder.intervals())
        assert idle is not None
        return idle

    fraction(0)  # the first recording starts CUPTI
    assert fraction(0) < 0.1
    assert fraction(0.05) > 0.5


@pytest.mark.cuda
def test_the_training_of_resnet56_is_limited_by_the_device_and_not_by_its_input(monkeypatch):
    """The same steps on one batch that is on the device already are no more than a tenth faster."""
    device = torch.device("cuda")
    trainer = make_trainer("resnet56", device, 128 * 200)
    trainer.epoch()
    epoch = trainer.epoch()
    pixels, labels = next(
        trainer.datasets.train.batches([torch.arange(128)], trainer.no_augmentation, None, slice(None))
    )
    monkeypatch.setattr(
        trainer.datasets.train, "batches", lambda batches, *_: ((pixels, labels) for _ in batches)
    )
    without_input = trainer.epoch()
    print(
        f"ResNet-56: {epoch.images_per_second:,.0f} images/s, device idle {epoch.device_idle:.0%}; without input {without_input.images_per_second:,.0f}"
    )
    assert epoch.device_idle is not None
    assert epoch.images_per_second > 0.9 * without_input.images_per_second
