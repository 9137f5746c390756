"""How well does a trained network serve another task, when there are only few images of it?"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from probe.data.images import Images
from probe.errors import UserError
from probe.params import Fraction, Names, Parameters
from probe.subject.cards import Input
from probe.subject.loading import build
from probe.subject.subject import Subject
from probe.training.augmentation import Augmentation
from probe.training.feeding import Feed, mean_and_std
from probe.training.history import Epoch
from probe.training.loop import Sets, Trainer
from probe.training.probing import linear_probes
from probe.training.recipe import Recipe


class Transfer(Parameters):
    """How a trained network is put to another task."""

    images: int = Field(
        200, ge=0, description="training images to use, the same number of each class (0: all there are)"
    )
    epochs: int = Field(40, ge=1, le=1000, description="passes over them, for every way of training")
    last: int = Field(
        2, ge=1, le=100, description="layers with weights to fine-tune, the new head among them"
    )
    head: int = Field(0, ge=0, le=65_536, description="width of a hidden layer of way 1's head (0: none)")
    augment: Names = Field(("crop",), description="variations of the images, where the trunk is in the loop")
    lr: Fraction = Field(
        1e-2, gt=0, le=1, description="highest learning rate of the new head; a tenth of it below"
    )
    batch: int = Field(32, ge=4, le=4096, description="images a step")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of the images drawn, the new weights and the augmentation"
    )


@dataclass(frozen=True)
class Way:
    """One way of training and what came of it: test accuracy, seconds, and its epochs where it had some."""

    name: str
    accuracy: float
    seconds: float
    trained: int
    epochs: Sequence[Epoch] = ()
    losses: Sequence[float] = ()


@dataclass(frozen=True)
class Transferred:
    """All ways, the accuracy of a linear classifier on each layer, and the network with its last layers tuned."""

    ways: list[Way]
    probes: dict[str, float]
    network: nn.Module
    train: Images
    test: Images


def new_head(inputs: int, classes: int, hidden: int = 0) -> nn.Sequential:
    """What turns (n, inputs) features into (n, classes) scores, through `hidden` units where there are any.

    >>> sum(p.numel() for p in new_head(5 * 5 * 1024, 1, 256).parameters())
    6554113
    """
    if not hidden:
        return nn.Sequential(nn.Linear(inputs, classes))
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def classifier(subject: Subject) -> str:
    """The address of the last dense layer; a UserError where the network does not end in one."""
    weighted = [layer for layer in subject.layers if layer.leaf and layer.parameters]
    if not weighted or weighted[-1].kind != "Linear":
        last = weighted[-1].address if weighted else "nothing"
        raise UserError(
            f"{subject.name} ends in {last}, not in a dense layer: probe transfers networks that end in one"
        )
    return weighted[-1].address


def renewed(subject: Subject, classes: int) -> nn.Module:
    """A copy of the network with a new last layer for `classes`; torch's own start of it. All else is frozen."""
    network = copy.deepcopy(subject.network)
    place, _, name = classifier(subject).rpartition(".")
    parent = network.get_submodule(place)
    setattr(parent, name, nn.Linear(getattr(parent, name).in_features, classes).to(subject.device))
    return network


def thaw(network: nn.Module, order: Sequence[str], last: int) -> int:
    """Free the last `last` layers of `order` and what normalises them, freeze all else; how many weights are free."""
    network.requires_grad_(False)
    modules = dict(network.named_modules())
    weighted = [name for name in order if isinstance(modules[name], nn.Conv2d | nn.Linear)]
    first = weighted[-last] if last <= len(weighted) else weighted[0]
    for name in order[order.index(first) :]:
        modules[name].requires_grad_(True)
    return sum(weight.numel() for weight in network.parameters() if weight.requires_grad)


def transfer(
    subject: Subject,
    train: Images,
    test: Images,
    options: Transfer,
    *,
    say: Callable[[str], None] = lambda sentence: None,
) -> Transferred:
    """Train for the classes of `train`, of which few images are given, in four ways, and test each on `test`.

    Way 1: the trunk's features are computed once, and a head is trained on them. Way 2: the frozen trunk stays
    in the loop, with augmentation. Fine-tuning: from there, the last layers go on at a tenth of the rate. From
    scratch: the same network from new weights, on the same images, with the default rate of its optimiser.
    train, test: fitted to the subject, with the same classes. Raises UserError where no dense layer ends the network.
    """
    classes = len(train.classes or ())
    few = train if not options.images else train.take(options.images, options.seed)
    assert few.labels is not None
    address = classifier(subject)
    device = subject.device
    sets = Sets(Feed(few, device), Feed(test, device))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(options.seed)
        ways = [_way1(subject, sets, address, classes, options)]
        say(_said(ways[-1]))
        network = renewed(subject, classes)
        order = [
            one.address for one in subject.layers if one.leaf and "#" not in one.address and one.parameters
        ]
        for name, last, rate in (("way 2", 1, 1.0), (f"fine-tuned, last {options.last}", options.last, 0.1)):
            free = thaw(network, order, last)
            ways.append(_loop(name, network, sets, subject.card.input, options, options.lr * rate, free))
            say(_said(ways[-1]))
        ways.append(_scratch(subject, sets, classes, options))
        say(_said(ways[-1]))
    network.requires_grad_(False)
    return Transferred(ways, linear_probes(subject, few, test), network, few, test)


def _said(way: Way) -> str:
    return f"{way.name}: {way.accuracy:.2%} of the test images, {way.trained:,} weights trained in {way.seconds:.1f} s"


def _way1(subject: Subject, sets: Sets, address: str, classes: int, options: Transfer) -> Way:
    """Features once, then a head on them: AdamW down a cosine."""
    start = time.monotonic()
    (inputs, labels), (tested, truth) = (_inputs(subject, feed, address) for feed in (sets.train, sets.test))
    head = new_head(inputs.shape[1], classes, options.head).to(subject.device)
    weights = list(head.parameters())
    optimiser = torch.optim.AdamW(weights, options.lr, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, options.epochs)
    rng = torch.Generator().manual_seed(options.seed)
    for _ in range(options.epochs):
        for rows in torch.randperm(len(inputs), generator=rng).split(options.batch):
            at = rows.to(subject.device)
            loss = functional.cross_entropy(head(inputs[at]), labels[at])
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            optimiser.step()
        schedule.step()
    with torch.no_grad():
        accuracy = float((head(tested).argmax(1) == truth).float().mean())
    return Way("way 1", accuracy, time.monotonic() - start, sum(w.numel() for w in weights))


@torch.no_grad()
def _inputs(subject: Subject, feed: Feed, address: str) -> tuple[Tensor, Tensor]:
    """What the classifier is given for each image, (n, features), and the labels."""
    heard: list[Tensor] = []
    module = subject.network.get_submodule(address)
    handle = module.register_forward_pre_hook(lambda _, inputs: heard.append(inputs[0].flatten(1)))
    plain = Augmentation((), feed.size)
    try:
        for pixels, _ in feed.batches(
            list(torch.arange(len(feed)).split(subject.batch())), plain, None, slice(None)
        ):
            subject.logits(pixels)
    finally:
        handle.remove()
    return torch.cat(heard), feed.labels


def _loop(
    name: str, network: nn.Module, sets: Sets, pixels: Input, options: Transfer, rate: float, free: int
) -> Way:
    recipe = Recipe(
        optimiser="adamw",
        lr=rate,
        weight_decay=1e-2,
        epochs=options.epochs,
        batch=options.batch,
        augment=options.augment,
        seed=options.seed,
        precision="float32",
    )
    start = time.monotonic()
    trainer = Trainer(network, sets, recipe, mean=pixels.mean, std=pixels.std, precision="float32")
    while not trainer.done:
        trainer.epoch()
    accuracy = trainer.epochs[-1].test_accuracy
    return Way(name, accuracy, time.monotonic() - start, free, trainer.epochs, trainer.losses)


def _scratch(subject: Subject, sets: Sets, classes: int, options: Transfer) -> Way:
    network = build(
        subject.card.architecture, classes=classes, shape=subject.shape, options=subject.card.options
    )
    mean, std = mean_and_std(sets.train)
    recipe = Recipe(epochs=options.epochs, batch=options.batch, augment=options.augment, seed=options.seed)
    start = time.monotonic()
    trainer = Trainer(network, sets, recipe, mean=mean, std=std, precision="float32")
    while not trainer.done:
        trainer.epoch()
    accuracy = trainer.epochs[-1].test_accuracy
    free = sum(weight.numel() for weight in network.parameters())
    return Way("from scratch", accuracy, time.monotonic() - start, free, trainer.epochs, trainer.losses)
