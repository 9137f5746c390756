"""How well does a trained network serve another task, when there are only few images of it?"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from probe.data.images import Images
from probe.errors import UserError
from probe.model.model import Model
from probe.params import Fraction, Parameters
from probe.training.config import Augmentations, TrainingConfig
from probe.training.datasets import DeviceDataset, mean_and_std
from probe.training.history import Epoch
from probe.training.progress import Display, Silence
from probe.training.trainer import Sets, Trainer
from probe.training.transfer.heads import head_inputs, new_head, unfreeze, untrained, with_new_head
from probe.training.transfer.layer_probes import linear_probes

_FOLLOWED = 1000  # test images that the course of a way is measured on; its end is measured on all
STORED, FROZEN = "head on stored features", "head, trunk frozen"
_SCRATCH, _SCRATCH_RATE = "from scratch", 1e-3


class Transfer(Parameters):
    """How a trained network is put to another task."""

    images: int = Field(
        200, ge=0, description="training images to use, the same number of each class (0: all there are)"
    )
    epochs: int = Field(40, ge=1, le=1000, description="passes over them, for every way of training")
    last: int = Field(
        2, ge=1, le=100, description="layers with weights to fine-tune, the new head among them"
    )
    head: int = Field(
        0, ge=0, le=65_536, description="width of a hidden layer of the head on stored features (0: none)"
    )
    augment: Augmentations = Field(
        ("crop",), description="variations of the images, where the trunk is in the loop"
    )
    lr: Fraction = Field(
        1e-2, gt=0, le=1, description="highest learning rate of the new head; a tenth of it below"
    )
    batch: int = Field(32, ge=4, le=4096, description="images a step")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of the images drawn, the new weights and the augmentation"
    )

    @property
    def tuned(self) -> str:
        """The name of the way that frees the last layers."""
        return f"fine-tuned, last {self.last}"


@dataclass(frozen=True)
class Strategy:
    """One way of training and what came of it: test accuracy, seconds, and its epochs where it had some."""

    name: str
    accuracy: float
    seconds: float
    trained: int
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


@dataclass
class Kept:
    """How far a transfer has come; `write` puts it where an interruption does not reach it.

    features: of the training and the test images, until the head on them is trained. network: the weights after the
    last of the ways that build on each other. under_way: the trainer of the way that is not finished.
    """

    ways: list[Strategy] = field(default_factory=list)
    features: dict[str, Any] | None = None
    network: dict[str, Any] | None = None
    under_way: dict[str, Any] | None = None
    write: Callable[["Kept"], None] = lambda kept: None

    def state(self) -> dict[str, Any]:
        """As tensors and plain values."""
        ways = [vars(way) | {"epochs": [epoch.model_dump() for epoch in way.epochs]} for way in self.ways]
        return {"ways": ways} | {name: getattr(self, name) for name in ("features", "network", "under_way")}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as `state()` gave it."""
        for name, value in state.items():
            setattr(self, name, value)
        self.ways = [
            Strategy(**way | {"epochs": [Epoch(**e) for e in way["epochs"]]}) for way in state["ways"]
        ]

    def finish(self, way: Strategy, network: nn.Module | None = None) -> Strategy:
        self.ways.append(way)
        self.features = self.under_way = None
        if network is not None:
            self.network = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        self.write(self)
        return way


@dataclass(frozen=True)
class Transferred:
    """All ways, the accuracy of a linear classifier on each layer, and the network with its last layers tuned."""

    ways: list[Strategy]
    probes: dict[str, float]
    network: nn.Module
    train: Images
    test: Images


class Transferring:
    """A transfer under way. train, test: fitted to the model, with the same classes.

    Way 1: the trunk's features are computed once, and a head is trained on them. Way 2: the frozen trunk stays
    in the loop, with augmentation. Fine-tuning: from there, the last layers go on at a tenth of the rate. From
    scratch: the same network from new weights, on the same images. What each way draws depends on the seed alone,
    so that one which goes on from what was `kept` ends with the same bytes. Raises UserError where the network
    does not end in a classifier that can be replaced.
    """

    def __init__(
        self,
        model: Model,
        train: Images,
        test: Images,
        options: Transfer,
        *,
        kept: Kept | None = None,
        shown: Display | None = None,
    ) -> None:
        self.model, self.options, self.test = model, options, test
        self.few = train.take(options.images, options.seed) if options.images else train
        self.kept, self.shown = kept or Kept(), shown or Silence()
        self.names = (STORED, FROZEN, options.tuned, _SCRATCH)
        self._classes = len(train.classes or ())
        if len(self.few) < self._classes:
            raise UserError(
                f"images must be at least {self._classes}, one of each class of {train.name}, got {options.images}"
            )
        with self._seeded():
            self._network = with_new_head(model, self._classes)
        feed = DeviceDataset(self.few, model.device)
        followed = test if len(test) <= _FOLLOWED else test.take(_FOLLOWED, options.seed)
        self._sets = Sets(feed, DeviceDataset(followed, model.device))
        self._all = DeviceDataset(test, model.device, resident=0)  # as fitted, not rounded to bytes

    @property
    def doing(self) -> str:
        """The name of the way under way."""
        done = len(self.kept.ways)
        return self.names[done] if done < len(self.names) else "linear probes"

    def run(self) -> Transferred:
        """All that is not done yet."""
        options, card = self.options, self.model.card
        if self.kept.network is not None:
            self._network.load_state_dict(self.kept.network)
        order = [one.address for one in self.model.layers if one.leaf and one.parameters and one.calls == 1]
        if self.doing == STORED:
            self._say(self.kept.finish(self._stored()))
        for name, last, rate in ((FROZEN, 1, options.lr), (options.tuned, options.last, options.lr / 10)):
            if self.doing == name:
                unfreeze(self._network, order, last)
                way = self._loop(self._network, rate, card.input.mean, card.input.std)
                self._say(self.kept.finish(way, self._network))
        if self.doing == _SCRATCH:
            with self._seeded():
                network = untrained(self.model, self._classes)
            self._say(self.kept.finish(self._loop(network, _SCRATCH_RATE, *mean_and_std(self._sets.train))))
        probes = linear_probes(self.model, self.few, self.test)
        network = self._network.requires_grad_(False).eval()
        return Transferred(self.kept.ways, probes, network, self.few, self.test)

    def _stored(self) -> Strategy:
        """Features once, then a head on them: AdamW down a cosine."""
        options, start = self.options, time.monotonic()
        if self.kept.features is None:
            train, test = (head_inputs(self.model, feed) for feed in (self._sets.train, self._all))
            self.kept.features = {"train": train, "test": test, "seconds": time.monotonic() - start}
            self.kept.write(self.kept)
        device, start = self.model.device, time.monotonic() - self.kept.features["seconds"]
        inputs, tested = (self.kept.features[name].to(device) for name in ("train", "test"))
        labels, truth = self._sets.train.labels, self._all.labels
        with self._seeded():
            head = new_head(inputs.shape[1], self._classes, options.head).to(device)
        weights = list(head.parameters())
        optimiser = torch.optim.AdamW(weights, options.lr, weight_decay=1e-2)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs)
        rng = torch.Generator().manual_seed(options.seed)
        for _ in range(options.epochs):
            for rows in torch.randperm(len(inputs), generator=rng).split(options.batch):
                at = rows.to(device)
                loss = functional.cross_entropy(head(inputs[at]), labels[at])
                for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.grad = gradient
                optimiser.step()
            schedule.step()
        with torch.no_grad():
            accuracy = float((head(tested).argmax(1) == truth).float().mean())
        return Strategy(STORED, accuracy, time.monotonic() - start, sum(w.numel() for w in weights))

    def _loop(
        self, network: nn.Module, rate: float, mean: tuple[float, ...], std: tuple[float, ...]
    ) -> Strategy:
        """What is free of `network`, with the images in the loop: AdamW up and down one cycle."""
        options, kept, name = self.options, self.kept, self.doing
        recipe = TrainingConfig(
            optimiser="adamw",
            lr=rate,
            weight_decay=1e-2,
            epochs=options.epochs,
            batch=options.batch,
            augment=options.augment,
            seed=options.seed,
        )
        trainer = Trainer(network, self._sets, recipe, mean=mean, std=std, precision="float32")
        spent, start = 0.0, time.monotonic()
        if kept.under_way is not None:
            trainer.restore(kept.under_way["trainer"])
            spent = kept.under_way["seconds"]
        before = (len(kept.ways) - 1) * options.epochs
        trainer.glance = lambda glance: self.shown.glance(replace(glance, epoch=before + glance.epoch))
        while not trainer.done:
            trainer.epoch()
            kept.under_way = {
                "trainer": trainer.state(),
                "seconds": spent + time.monotonic() - start,
            }
            kept.write(kept)
        loss, accuracy = trainer.evaluate(self._all)
        last = trainer.epochs[-1].model_copy(update={"test_loss": loss, "test_accuracy": accuracy})
        free = sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
        seconds = spent + time.monotonic() - start
        return Strategy(name, accuracy, seconds, free, [*trainer.epochs[:-1], last], trainer.losses)

    def _say(self, way: Strategy) -> None:
        self.shown.say(
            f"{way.name}: {way.accuracy:.2%} of the test images, {way.trained:,} weights trained in {way.seconds:.1f} s"
        )

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """New weights are drawn inside, from the seed alone; torch draws them from its global generator."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.options.seed)
            yield
