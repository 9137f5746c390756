"""Four strategies to transfer a trained network to other classes: stored features, frozen, fine-tuned, from scratch."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from probe.data.images import Images
from probe.errors import UserError
from probe.methods.representation.linear_probe import probe_layers
from probe.model.model import Model
from probe.model.parametrisation import with_plain_weights
from probe.training.config import TrainingConfig
from probe.training.datasets import Datasets, DeviceDataset, Normalisation, measure_normalisation
from probe.training.exhibits import confusion_counts
from probe.training.history import StepReport
from probe.training.progress import Display, SilentDisplay
from probe.training.trainer import Trainer
from probe.training.transfer.config import TransferConfig
from probe.training.transfer.heads import (
    build_untrained,
    classifier_address,
    head_inputs,
    new_head,
    trainable_parameters,
    unfreeze,
    with_head,
    with_new_head,
)
from probe.training.transfer.progress import (
    StoredFeatures,
    StrategyResult,
    TransferProgress,
    TransferResult,
    UnfinishedStrategy,
)

_CURVE_IMAGES = 1000  # test images measured after each epoch; the final accuracy is measured on all
STORED_FEATURES, FROZEN_BACKBONE, FROM_SCRATCH = (
    "head on stored features",
    "head, frozen backbone",
    "from scratch",
)
_SCRATCH_LR = 1e-3
_WEIGHT_DECAY = 1e-2


class TransferTrainer:
    """Transfers a model to the classes of other images by four strategies.

    Stored features: the backbone's features are computed once, and a head is trained on them. Frozen backbone: the
    head is trained with the backbone in the forward pass, on augmented images. Fine-tuned: from there, the last layers
    are trained at a tenth of the learning rate. From scratch: the same architecture from new weights, on the same
    images. All random numbers of a strategy depend on the seed alone, so that a transfer resumed from `progress` ends
    with the same bytes.
    train, test: preprocessed for the model, with the same classes. Raises UserError where the network does not end in
    a classifier that can be replaced, and for fewer images than classes.
    """

    def __init__(
        self,
        model: Model,
        train: Images,
        test: Images,
        config: TransferConfig,
        *,
        progress: TransferProgress | None = None,
        display: Display | None = None,
    ) -> None:
        self.model, self.config, self.test = model, config, test
        self.train = train.take(config.n, config.seed) if config.n else train
        self.progress, self.display = progress or TransferProgress(), display or SilentDisplay()
        self.names = (STORED_FEATURES, FROZEN_BACKBONE, config.fine_tuning, FROM_SCRATCH)
        self._classes = len(train.classes or ())
        if len(self.train) < self._classes:
            raise UserError(
                f"n must be at least {self._classes}, one image of each class of {train.name}, got {config.n}"
            )
        with self._seeded():
            self._network = with_new_head(model, self._classes)
        curve_images = test if len(test) <= _CURVE_IMAGES else test.take(_CURVE_IMAGES, config.seed)
        self._datasets = Datasets(
            DeviceDataset(self.train, model.device), DeviceDataset(curve_images, model.device)
        )
        # Without a pool: as preprocessed, not rounded to bytes.
        self._all_test = DeviceDataset(test, model.device, max_resident_bytes=0)

    @property
    def current(self) -> str:
        """The name of the current strategy, "linear probes" after the last one."""
        done = len(self.progress.finished)
        return self.names[done] if done < len(self.names) else "linear probes"

    def run(self) -> TransferResult:
        """Run what is not done yet."""
        config, card, progress = self.config, self.model.card, self.progress
        if progress.network is not None:
            self._network.load_state_dict(progress.network)
        own = Normalisation(card.input.mean, card.input.std)
        if self.current == STORED_FEATURES:
            self._finish(*self._train_on_features(), own)
        addresses = [
            layer.address
            for layer in self.model.layers
            if layer.leaf and layer.parameters and layer.calls == 1
        ]
        for name, layers, lr in (
            (FROZEN_BACKBONE, 1, config.lr),
            (config.fine_tuning, config.unfreeze, config.lr / 10),
        ):
            if self.current == name:
                unfreeze(self._network, addresses, layers)
                self._finish(self._train_on_images(self._network, lr, own), self._network, own, next_too=True)
        if self.current == FROM_SCRATCH:
            with self._seeded():
                network = build_untrained(self.model, self._classes)
            normalisation = measure_normalisation(self._datasets.train)
            result = self._train_on_images(network, _SCRATCH_LR, normalisation)
            self._finish(result, with_plain_weights(network.eval()), normalisation)
        probes = probe_layers(self.model, self.train, self.test)
        best = progress.best
        assert best is not None  # of the three strategies that train the network itself one is the best
        self._network.load_state_dict(best.state)
        network = self._network.requires_grad_(False).eval()
        return TransferResult(progress.finished, probes, best, network, self.train, self.test)

    def _finish(
        self,
        result: StrategyResult,
        network: nn.Module | None,
        normalisation: Normalisation,
        *,
        next_too: bool = False,
    ) -> None:
        self.progress.add(result, network, normalisation, next_too=next_too)
        self.display.message(
            f"{result.name}: test accuracy {result.test_accuracy:.2%}, {result.trainable_parameters:,} trained "
            f"parameters, {result.seconds:.1f} s"
        )

    def _train_on_features(self) -> tuple[StrategyResult, nn.Module | None]:
        """Compute the features once and train a head on them, by AdamW with cosine annealing.

        Returns the network with this head too; None where the head has a hidden layer, which the network has not.
        """
        config, device, start = self.config, self.model.device, time.monotonic()
        features = self.progress.features
        if features is None:
            train, test = (
                head_inputs(self.model, images) for images in (self._datasets.train, self._all_test)
            )
            features = StoredFeatures(train, test, time.monotonic() - start)
            self.progress.features = features
            self.progress.write(self.progress)
        start = time.monotonic() - features.seconds
        inputs, labels = features.train.to(device), self._datasets.train.labels
        with self._seeded():
            head = new_head(inputs.shape[1], self._classes, config.hidden_units, bias=self._has_bias).to(
                device
            )
        weights = list(head.parameters())
        optimiser = torch.optim.AdamW(weights, config.lr, weight_decay=_WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
        rng = torch.Generator().manual_seed(config.seed)
        for _ in range(config.epochs):
            for positions in torch.randperm(len(inputs), generator=rng).split(config.batch_size):
                batch = positions.to(device)
                loss = functional.cross_entropy(head(inputs[batch]), labels[batch])
                for weight, grad in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                    weight.grad = grad
                optimiser.step()
            schedule.step()
        with torch.no_grad():
            predictions = head(features.test.to(device)).argmax(1)
            accuracy = float((predictions == self._all_test.labels).float().mean())
            network = None
            if not config.hidden_units:
                network = with_head(self.model, self._network, head).eval()
                accuracy = self._accuracy(network)
        result = StrategyResult(
            STORED_FEATURES, accuracy, time.monotonic() - start, trainable_parameters(head)
        )
        return result, network

    @property
    def _has_bias(self) -> bool:
        return any(
            name == "bias"
            for name, _ in self._network.get_submodule(classifier_address(self.model)).named_parameters()
        )

    def _accuracy(self, network: nn.Module) -> float:
        """The test accuracy of a network with the normalisation of the model."""
        classes = tuple(self.train.classes or ())
        model = Model(network, self.model.card.model_copy(update={"classes": classes}), self.model.device)
        return float(confusion_counts(model, self.test).trace() / len(self.test))

    def _train_on_images(self, network: nn.Module, lr: float, normalisation: Normalisation) -> StrategyResult:
        """Train the unfrozen layers of `network` on augmented images, by AdamW with a one-cycle schedule."""
        config, progress, name = self.config, self.progress, self.current
        training = TrainingConfig(
            optimiser="adamw",
            lr=lr,
            weight_decay=_WEIGHT_DECAY,
            epochs=config.epochs,
            batch_size=config.batch_size,
            augment=config.augment,
            seed=config.seed,
        )
        trainer = Trainer(network, self._datasets, training, normalisation, precision="float32")
        trainer.on_step = self._report
        seconds_before, start = 0.0, time.monotonic()
        if progress.unfinished is not None:
            trainer.restore(progress.unfinished.trainer)
            seconds_before = progress.unfinished.seconds
        while not trainer.done:
            trainer.epoch()
            seconds = seconds_before + time.monotonic() - start
            progress.unfinished = UnfinishedStrategy(trainer.state(), seconds)
            progress.write(progress)
        loss, accuracy = trainer.evaluate(self._all_test)
        last = trainer.epochs[-1].model_copy(update={"test_loss": loss, "test_accuracy": accuracy})
        return StrategyResult(
            name=name,
            test_accuracy=accuracy,
            seconds=seconds_before + time.monotonic() - start,
            trainable_parameters=trainable_parameters(network),
            epochs=[*trainer.epochs[:-1], last],
            losses=trainer.losses,
        )

    def _report(self, report: StepReport) -> None:
        """Show a step, with the epochs of the strategies counted one after the other."""
        epochs_before = (len(self.progress.finished) - 1) * self.config.epochs
        self.display.step(replace(report, epoch=epochs_before + report.epoch))

    @contextmanager
    def _seeded(self) -> Iterator[None]:
        """Seed torch's global generator, from which it draws initial weights; restored at the end."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.config.seed)
            yield
