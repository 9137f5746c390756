"""How do the weights change over a training? One epoch after the other, each a function of its number alone."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from probe.errors import UserError
from probe.training.adversarial import CHECKED, Adversary
from probe.training.augmentation import Augmentation
from probe.training.config import TrainingConfig
from probe.training.datasets import DeviceDataset, at_a_time, even_parts
from probe.training.device_idle import IdleMonitor
from probe.training.distributed import Processes
from probe.training.history import Epoch
from probe.training.optimiser import lr_factor, make_optimiser, peak_rate

_LOOK = 50  # steps between two looks at the loss: each waits for the device
_EVALUATED = 500  # images at a time, of up to 64 x 64 pixels; of larger ones fewer


class Diverged(UserError):
    """The loss is no longer a number."""


@dataclass(frozen=True)
class StepReport:
    """Where a training stands in the middle of an epoch. loss, accuracy: means since its beginning."""

    epoch: int
    step: int
    steps: int
    loss: float
    accuracy: float
    rate: float


@dataclass
class Sets:
    """The images of a training. validation: held out of it, or None."""

    train: DeviceDataset
    test: DeviceDataset
    validation: DeviceDataset | None = None


@dataclass
class Best:
    """The weights with the lowest validation loss so far, and the epoch that they come from."""

    loss: float = math.inf
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """A network under training. Its state after an epoch is all that the next one depends on.

    The network is trained where it lies. The order of the images, their augmentation and dropout are drawn
    anew in every epoch from the seed and the epoch's number; the global random state is as before after each.
    """

    def __init__(
        self,
        network: nn.Module,
        sets: Sets,
        recipe: TrainingConfig,
        *,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        precision: str,
        team: Processes | None = None,
        glance: Callable[[StepReport], None] | None = None,
    ) -> None:
        # A step takes no more images than there are, and the default rate is that of the batch that is taken.
        recipe = recipe.model_copy(update={"batch": min(recipe.batch, len(sets.train))})
        self.device, self.sets, self.recipe = sets.train.device, sets, recipe
        self.team, self.glance = team or Processes(), glance
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.model = self.team.wrap(self.network, self.device)
        self.optimiser = make_optimiser(recipe, self.network)
        self.peak = peak_rate(recipe, self.network)
        self.augmentation = Augmentation(recipe.augment, sets.test.size, mean)
        self.plain = Augmentation((), sets.test.size)
        self._mean = torch.tensor(mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(std, device=self.device).view(1, -1, 1, 1)
        self._bf16 = precision == "bf16"
        self.epochs: list[Epoch] = []
        self.losses: list[float] = []
        self.best = Best()

    @property
    def done(self) -> bool:
        """Whether all epochs were run, or validation has not improved for as long as the recipe waits."""
        waited = len(self.epochs) - self.best.epoch
        stopped = bool(self.recipe.early_stopping) and waited >= self.recipe.early_stopping
        return len(self.epochs) >= self.recipe.epochs or stopped

    def epoch(self) -> Epoch:
        """Run the next epoch; raises Diverged at the step whose loss is no number."""
        number, start = len(self.epochs) + 1, time.monotonic()
        seed = (self.recipe.seed << 20) + number
        devices = [self.device] if self.device.type == "cuda" else []
        watch = IdleMonitor(self.device, number)
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed + (self.team.number << 52))
            losses, correct = self._pass(number, torch.Generator().manual_seed(seed), watch)
        seconds = time.monotonic() - start - watch.spent
        test_loss, test_accuracy = self.evaluate(self.sets.test)
        one_step, many_steps = self._stands(number)
        held = (None, None) if self.sets.validation is None else self.evaluate(self.sets.validation)
        if not math.isfinite(test_loss):
            raise self._diverged(number, len(self.losses) + len(losses))
        self.losses += losses
        count = len(self.sets.train)
        done = Epoch(
            epoch=number,
            steps=len(self.losses),
            loss=sum(losses) / len(losses),
            accuracy=correct / count,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            validation_loss=held[0],
            validation_accuracy=held[1],
            lr=self.optimiser.param_groups[0]["lr"],
            seconds=seconds,
            rate=count / seconds,
            device_idle=watch.idle,
            one_step=one_step,
            many_steps=many_steps,
        )
        self.epochs.append(done)
        if held[0] is not None and held[0] < self.best.loss and self.recipe.early_stopping:
            weights = {
                name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()
            }
            self.best = Best(held[0], number, weights)
        return done

    def _pass(self, number: int, rng: torch.Generator, watch: IdleMonitor) -> tuple[list[float], float]:
        """The loss of each step over the joint batch, and how many images were answered rightly."""
        self._learning()
        feed, start = self.sets.train, time.monotonic()
        parts = even_parts(torch.randperm(len(feed), generator=rng), self.recipe.batch)
        losses = torch.zeros(len(parts), device=self.device)
        correct = torch.zeros((), device=self.device)
        batches = feed.batches(parts, self.augmentation, rng, self.team.share)
        adversary = self._adversary(number)
        for step, (pixels, labels) in enumerate(watch.over(batches)):
            done = (number - 1 + step / len(parts)) / self.recipe.epochs
            rate = self.peak * lr_factor(self.recipe.schedule, done)
            for group in self.optimiser.param_groups:
                group["lr"] = rate
            pixels = adversary.batch(pixels, labels, share=done)
            logits = self._logits(self.model, pixels)
            total = functional.cross_entropy(
                logits, labels, reduction="sum", label_smoothing=self.recipe.label_smoothing
            )
            # Processes average their gradients; so weighted, that is the mean over the joint batch.
            loss = total * (self.team.count / len(parts[step]))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses[step] = loss.detach() / self.team.count
            correct += (logits.detach().argmax(1) == labels).sum()
            if (step + 1) % _LOOK == 0 or step + 1 == len(parts):
                self._check(number, losses[: step + 1])
                if self.glance is not None:
                    seen = sum(len(part) for part in parts[: step + 1])
                    share = seen / self.team.count
                    mean = float(losses[: step + 1].mean()) * self.team.count
                    spent = time.monotonic() - start
                    self.glance(
                        StepReport(number, step + 1, len(parts), mean, float(correct) / share, seen / spent)
                    )
        joint = self.team.total(torch.cat([losses, correct[None]])).tolist()
        return joint[:-1], joint[-1]

    def _learning(self) -> None:
        """Training mode, but for layers that are frozen: their running statistics stay as they are."""
        self.model.train()
        for module in self.network.modules():
            own = list(module.parameters(recurse=False))
            if own and not any(weight.requires_grad for weight in own):
                module.eval()

    def _check(self, number: int, losses: Tensor) -> None:
        broken = self.team.total((~losses.isfinite()).int())
        if bool(broken.any()):
            raise self._diverged(number, len(self.losses) + int(broken.argmax()) + 1)

    def _diverged(self, number: int, step: int) -> Diverged:
        kept = f"the weights after epoch {number - 1} are kept" if number > 1 else "nothing was learnt before"
        elsewhere = ", with another --out" if number > 1 else ""
        return Diverged(
            f"the loss is no longer a number at step {step} (epoch {number}, learning rate up to {self.peak:g}); "
            f"{kept}. Try a lower --lr, such as {self.peak / 10:g}, or --precision float32{elsewhere}"
        )

    def _logits(self, model: nn.Module, pixels: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            answer = model((pixels - self._mean) / self._std)
        # torchvision's GoogLeNet and Inception answer with auxiliary scores beside the main ones.
        return getattr(answer, "logits", answer).float()

    @torch.no_grad()
    def evaluate(self, feed: DeviceDataset) -> tuple[float, float]:
        """Mean cross-entropy and accuracy of the network as it is, in evaluation mode."""
        self._agree()
        self.network.eval()
        sums = torch.zeros(2, device=self.device)
        parts = even_parts(torch.arange(len(feed)), at_a_time(_EVALUATED, feed.size))
        for pixels, labels in feed.batches(parts, self.plain, None, self.team.share):
            logits = self._logits(self.network, pixels)
            sums[0] += functional.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
        loss, correct = self.team.total(sums).tolist()
        return loss / len(feed), correct / len(feed)

    def _adversary(self, number: int) -> Adversary:
        seed = (self.recipe.seed << 20) + number + (self.team.number << 52)
        # Through the bare network: what is only attacked is not the business of the other processes.
        return Adversary(self.recipe, self.network, lambda x: self._logits(self.network, x), seed=seed)

    def _stands(self, number: int) -> tuple[float | None, float | None]:
        """The accuracy on some training images under one step and under many, in evaluation mode."""
        if self.recipe.adversarial == "none":
            return None, None
        self.network.eval()
        rows = [torch.arange(min(CHECKED, len(self.sets.train)))]
        pixels, labels = next(self.sets.train.batches(rows, self.plain, None, slice(None)))
        return self._adversary(number).stands(pixels, labels, share=number / self.recipe.epochs)

    def _agree(self) -> None:
        """The first process's running statistics, everywhere."""
        if self.team.count > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, and what was seen so far: tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best": vars(self.best),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state`, as `state()` gave it."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = list(state["losses"])
        self.epochs = [Epoch(**values) for values in state["epochs"]]
        self.best = Best(**state["best"])

    def finished(self) -> nn.Module:
        """The trained network: the best weights where the recipe stops early, else the last."""
        network = copy.deepcopy(self.network)
        if self.best.weights:
            network.load_state_dict(self.best.weights)
        return network
