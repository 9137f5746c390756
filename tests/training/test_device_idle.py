"""How long a device waits: by hand, by a recorder that is made up, and on a CUDA device where there is one."""

import time

import pytest
import torch

from probe.data.images import Images
from probe.training.config import TrainingConfig
from probe.training.datasets import DeviceDataset
from probe.training.device_idle import IdleMonitor, Recorder, idle_share
from probe.training.history import read_history, write_history
from probe.training.precision import choose_precision
from probe.training.progress import described
from probe.training.save import history_of
from probe.training.trainer import Sets, Trainer
from probe.zoo import build

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(0, 1)], 0),
        ([(2, 3), (0, 1)], 1 / 3),
        ([(0, 4), (1, 2), (3, 6)], 0),
        ([(0, 10), (2, 3), (12, 16)], 2 / 16),
        ([], None),
        ([(5, 5)], None),
    ],
)
def test_the_idle_share_is_the_part_of_the_time_that_no_work_covers(spans, share):
    assert idle_share(spans) == pytest.approx(share)


class Made(Recorder):
    """Notes when it was begun and asked."""

    log: list[str] = []

    def __init__(self) -> None:
        self.log.append("begun")

    def spans(self) -> list[tuple[float, float]]:
        self.log.append("asked")
        return [(0, 3), (4, 5)]


@pytest.mark.parametrize(
    ("steps", "log"),
    [
        (4, ["0", "1", "2", "3"]),
        (8, ["0", "1", "2", "3", "4", "begun", "5", "6", "7", "asked"]),
        (15, [*"01234", "begun", "5", "6", "7", "8", "9", "10", "11", "12", "asked", "13", "14"]),
    ],
)
def test_some_steps_after_the_first_ones_are_watched_and_all_batches_pass(steps, log):
    Made.log = []
    watch = IdleMonitor(CPU, recorder=Made)
    for batch in watch.over(range(steps)):
        Made.log.append(str(batch))
    assert Made.log == log
    assert watch.idle == (pytest.approx(0.2) if "asked" in log else None)


class Broken(Made):
    def spans(self) -> list[tuple[float, float]]:
        raise RuntimeError("another profiler listens")


def test_what_cannot_be_heard_ends_no_training_and_is_no_part_of_its_time():
    watch = IdleMonitor(CPU, recorder=Broken)
    assert list(watch.over(range(15))) == list(range(15))
    assert watch.idle is None
    assert watch.spent > 0


def images(count: int) -> Images:
    rng = torch.Generator().manual_seed(0)
    raw = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=rng)
    return Images.from_tensor(raw, torch.arange(count) % 10, classes=tuple("abcdefghij"))


def trainer(name: str, device: torch.device, count: int, batch: int = 128) -> Trainer:
    sets = Sets(DeviceDataset(images(count), device), DeviceDataset(images(100), device))
    recipe = TrainingConfig(epochs=3, batch=batch, augment=("crop", "flip"))
    precision = choose_precision("auto", device)
    return Trainer(build(name), sets, recipe, mean=(0.5,) * 3, std=(0.25,) * 3, precision=precision)


def test_on_a_cpu_nothing_is_said_of_a_device(tmp_path):
    training = trainer("cifar-convnet-gmp", CPU, 100, batch=10)
    epoch = training.epoch()
    assert epoch.device_idle is None
    assert "idle" not in described(epoch, 3)
    write_history(history_of(training), tmp_path)
    assert "idle" not in (tmp_path / "history.csv").read_text() + (tmp_path / "history.json").read_text()


def test_what_was_found_is_in_the_line_and_the_history_of_the_epoch(tmp_path):
    training = trainer("cifar-convnet-gmp", CPU, 100, batch=10)
    training.epochs = [training.epoch().model_copy(update={"device_idle": 0.125})]
    assert described(training.epochs[0], 3).endswith("images/s, device idle 12%")
    write_history(history_of(training), tmp_path)
    assert read_history(tmp_path).epochs[0].device_idle == 0.125
    assert "device_idle" in (tmp_path / "history.csv").read_text().splitlines()[0]


@pytest.mark.cuda
def test_a_recorder_sees_a_device_that_works_and_one_that_waits():
    device = torch.device("cuda")
    x = torch.randn(4096, 4096, device=device)

    def share(pause: float) -> float:
        torch.cuda.synchronize()
        recorder = Recorder()
        for _ in range(10):
            for _ in range(5):
                x @ x
            if pause:
                torch.cuda.synchronize()
                time.sleep(pause)
        torch.cuda.synchronize()
        found = idle_share(recorder.spans())
        assert found is not None
        return found

    share(0)  # the first recording starts CUPTI
    assert share(0) < 0.1
    assert share(0.05) > 0.5


@pytest.mark.cuda
def test_the_resnet56_recipe_is_limited_by_the_device_and_not_by_its_input(monkeypatch):
    """The same steps on one batch that lies there already are no more than a tenth faster."""
    device = torch.device("cuda")
    training = trainer("resnet56", device, 128 * 200)
    training.epoch()
    epoch = training.epoch()
    pixels, labels = next(training.sets.train.batches([torch.arange(128)], training.plain, None, slice(None)))
    monkeypatch.setattr(training.sets.train, "batches", lambda parts, *_: ((pixels, labels) for _ in parts))
    still = training.epoch()
    print(
        f"ResNet-56: {epoch.rate:,.0f} images/s, device idle {epoch.device_idle:.0%}; without input {still.rate:,.0f}"
    )
    assert epoch.device_idle is not None
    assert epoch.rate > 0.9 * still.rate
