"""The training loop: one epoch after the other, each determined by the state after the one before."""

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
from probe.training.adversarial import EPOCH_IMAGES, AdversarialExamples
from probe.training.augmentation import Augmentation
from probe.training.config import TrainingConfig
from probe.training.datasets import Datasets, DeviceDataset, Normalisation, batch_limit, even_batches
from probe.training.device_idle import IdleMonitor
from probe.training.distributed import Processes
from probe.training.history import Epoch, StepReport
from probe.training.optimiser import lr_factor, make_optimiser, peak_lr

_CHECK_EVERY = 50  # steps between two checks of the loss: each waits for the device
_EVALUATION_BATCH = 500  # images of up to 64 x 64 pixels; fewer of larger ones


class Diverged(UserError):
    """The loss is no longer finite."""


@dataclass
class BestWeights:
    """The weights with the lowest validation loss so far, and their epoch."""

    loss: float = math.inf
    epoch: int = 0
    weights: dict[str, Tensor] = field(default_factory=dict)


class Trainer:
    """A network in training. Its state after an epoch is all that the next one depends on.

    The network is trained in place. The order of the images, their augmentation and dropout are drawn anew in every
    epoch from the seed and the epoch's number; the global random state is restored after each.
    precision: "float32" or "bf16". on_step: called now and then within an epoch.
    """

    on_step: Callable[[StepReport], None] | None = None

    def __init__(
        self,
        network: nn.Module,
        datasets: Datasets,
        config: TrainingConfig,
        normalisation: Normalisation,
        *,
        precision: str,
        processes: Processes | None = None,
    ) -> None:
        # A step takes no more images than there are, and the default learning rate is that of the batch taken.
        config = config.model_copy(update={"batch_size": min(config.batch_size, len(datasets.train))})
        self.device, self.datasets, self.config = datasets.train.device, datasets, config
        self.processes = processes or Processes()
        self.network = network.to(self.device).to(memory_format=torch.channels_last)
        self.parallel = self.processes.wrap(self.network, self.device)
        self.optimiser = make_optimiser(config, self.network)
        self.peak_lr = peak_lr(config, self.network)
        self.augmentation = Augmentation(config.augment, datasets.test.size, normalisation.mean)
        self.no_augmentation = Augmentation((), datasets.test.size)
        self.normalisation, self.precision = normalisation, precision
        self._mean = torch.tensor(normalisation.mean, device=self.device).view(1, -1, 1, 1)
        self._std = torch.tensor(normalisation.std, device=self.device).view(1, -1, 1, 1)
        self.epochs: list[Epoch] = []
        self.losses: list[float] = []
        self.best = BestWeights()

    @property
    def done(self) -> bool:
        """Whether all epochs were run, or the validation loss has not improved for `early_stopping` epochs."""
        patience, waited = self.config.early_stopping, len(self.epochs) - self.best.epoch
        return len(self.epochs) >= self.config.epochs or bool(patience and waited >= patience)

    def epoch(self) -> Epoch:
        """Run the next epoch. Raises Diverged at the step whose loss is not finite."""
        number, start = len(self.epochs) + 1, time.monotonic()
        monitor = IdleMonitor(self.device, number)
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(self._seed(number) + (self.processes.rank << 52))
            rng = torch.Generator().manual_seed(self._seed(number))
            losses, correct = self._steps(number, rng, monitor)
        seconds = time.monotonic() - start - monitor.overhead
        test_loss, test_accuracy = self.evaluate(self.datasets.test)
        fgsm_accuracy, pgd_accuracy = self._adversarial_accuracy(number)
        validation = self.datasets.validation
        validation_loss, validation_accuracy = (
            (None, None) if validation is None else self.evaluate(validation)
        )
        if not math.isfinite(test_loss):
            raise self._diverged(number, len(self.losses) + len(losses))
        self.losses += losses
        count = len(self.datasets.train)
        epoch = Epoch(
            epoch=number,
            steps=len(self.losses),
            loss=sum(losses) / len(losses),
            accuracy=correct / count,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            lr=self.optimiser.param_groups[0]["lr"],
            seconds=seconds,
            images_per_second=count / seconds,
            device_idle=monitor.idle,
            fgsm_accuracy=fgsm_accuracy,
            pgd_accuracy=pgd_accuracy,
        )
        self.epochs.append(epoch)
        if self.config.early_stopping and validation_loss is not None and validation_loss < self.best.loss:
            state = self.network.state_dict().items()
            weights = {name: value.detach().cpu().clone() for name, value in state}
            self.best = BestWeights(validation_loss, number, weights)
        return epoch

    def _seed(self, number: int) -> int:
        return (self.config.seed << 20) + number

    def _steps(self, number: int, rng: torch.Generator, monitor: IdleMonitor) -> tuple[list[float], float]:
        """The loss of each step over the joint batch, and the number of images classified correctly."""
        self._train_mode()
        dataset, start = self.datasets.train, time.monotonic()
        batches = even_batches(torch.randperm(len(dataset), generator=rng), self.config.batch_size)
        losses = torch.zeros(len(batches), device=self.device)
        correct = torch.zeros((), device=self.device)
        examples = self._adversarial_examples(number)
        loaded = dataset.batches(batches, self.augmentation, rng, self.processes.shard)
        images_done = 0
        for step, (pixels, labels) in enumerate(monitor.watch(loaded)):
            progress = (number - 1 + step / len(batches)) / self.config.epochs
            self._set_lr(self.peak_lr * lr_factor(self.config.schedule, progress))
            pixels = examples.batch(pixels, labels, progress=progress)
            logits = self._logits(self.parallel, pixels)
            total = functional.cross_entropy(
                logits, labels, reduction="sum", label_smoothing=self.config.label_smoothing
            )
            # Processes average their gradients: with this weight, that is the mean over the joint batch.
            loss = total * (self.processes.world_size / len(batches[step]))
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            losses[step] = loss.detach() / self.processes.world_size
            correct += (logits.detach().argmax(1) == labels).sum()
            images_done += len(batches[step])
            if (step + 1) % _CHECK_EVERY == 0 or step + 1 == len(batches):
                self._check_finite(number, losses[: step + 1])
                if self.on_step is not None:
                    mean = float(losses[: step + 1].mean()) * self.processes.world_size
                    accuracy = float(correct) / (images_done / self.processes.world_size)
                    speed = images_done / (time.monotonic() - start)
                    self.on_step(StepReport(number, step + 1, len(batches), mean, accuracy, speed))
        joint = self.processes.sum(torch.cat([losses, correct[None]])).tolist()
        return joint[:-1], joint[-1]

    def _train_mode(self) -> None:
        """Training mode, except for frozen layers: their running statistics stay as they are."""
        self.parallel.train()
        for module in self.network.modules():
            weights = list(module.parameters(recurse=False))
            if weights and not any(weight.requires_grad for weight in weights):
                module.eval()

    def _set_lr(self, lr: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = lr

    def _check_finite(self, number: int, losses: Tensor) -> None:
        not_finite = self.processes.sum((~losses.isfinite()).int())
        if bool(not_finite.any()):
            raise self._diverged(number, len(self.losses) + int(not_finite.argmax()) + 1)

    def _diverged(self, number: int, step: int) -> Diverged:
        saved = f"the weights after epoch {number - 1} are kept" if number > 1 else "no epoch was completed"
        elsewhere = ", with another --out" if number > 1 else ""
        return Diverged(
            f"the loss is not finite at step {step} (epoch {number}, learning rate up to {self.peak_lr:g}); "
            f"{saved}. Try a lower --lr, such as {self.peak_lr / 10:g}, or --precision float32{elsewhere}"
        )

    def _logits(self, model: nn.Module, pixels: Tensor) -> Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            output = model((pixels - self._mean) / self._std)
        # torchvision's GoogLeNet and Inception return auxiliary logits beside the main ones.
        return getattr(output, "logits", output).float()

    @torch.no_grad()
    def evaluate(self, dataset: DeviceDataset) -> tuple[float, float]:
        """Mean cross-entropy and accuracy of the current network, in evaluation mode."""
        self._broadcast_buffers()
        self.network.eval()
        sums = torch.zeros(2, device=self.device)
        batches = even_batches(torch.arange(len(dataset)), batch_limit(_EVALUATION_BATCH, dataset.size))
        for pixels, labels in dataset.batches(batches, self.no_augmentation, None, self.processes.shard):
            logits = self._logits(self.network, pixels)
            sums[0] += functional.cross_entropy(logits, labels, reduction="sum")
            sums[1] += (logits.argmax(1) == labels).sum()
        loss, correct = self.processes.sum(sums).tolist()
        return loss / len(dataset), correct / len(dataset)

    def _adversarial_examples(self, number: int) -> AdversarialExamples:
        seed = self._seed(number) + (self.processes.rank << 52)
        # Through the bare network: the gradients of an attack are not to be averaged over the processes.
        return AdversarialExamples(
            self.config, self.network, lambda x: self._logits(self.network, x), seed=seed
        )

    def _adversarial_accuracy(self, number: int) -> tuple[float | None, float | None]:
        """The accuracy on some training images under FGSM and under PGD, in evaluation mode."""
        if self.config.adversarial == "none":
            return None, None
        self.network.eval()
        positions = [torch.arange(min(EPOCH_IMAGES, len(self.datasets.train)))]
        pixels, labels = next(self.datasets.train.batches(positions, self.no_augmentation, None, slice(None)))
        examples = self._adversarial_examples(number)
        return examples.robust_accuracy(pixels, labels, progress=number / self.config.epochs)

    def _broadcast_buffers(self) -> None:
        """The running statistics of the first process, in every process."""
        if self.processes.world_size > 1:
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, 0)

    def state(self) -> dict[str, Any]:
        """All that the next epoch depends on, and the records so far: tensors and plain values."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "losses": self.losses,
            "epochs": [epoch.model_dump() for epoch in self.epochs],
            "best": vars(self.best),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as `state()` returned it."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.losses = list(state["losses"])
        self.epochs = [Epoch(**values) for values in state["epochs"]]
        self.best = BestWeights(**state["best"])

    def finished(self) -> nn.Module:
        """A copy of the trained network: with early stopping the best weights, else the last ones."""
        network = copy.deepcopy(self.network)
        if self.best.weights:
            network.load_state_dict(self.best.weights)
        return network
