"""Results of transfer strategies, and how far a transfer has come, for checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from probe.data.images import Images
from probe.training.datasets import Normalisation
from probe.training.history import Epoch


@dataclass(frozen=True)
class StrategyResult:
    """A finished strategy. epochs, losses: empty for the head on stored features."""

    name: str
    test_accuracy: float
    seconds: float
    trainable_parameters: int
    epochs: list[Epoch] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class StoredFeatures:
    """Inputs of the head, (n, features), of the training and the test images; seconds: to compute them."""

    train: Tensor
    test: Tensor
    seconds: float


@dataclass(frozen=True)
class UnfinishedStrategy:
    """The state of the trainer of a strategy after an epoch, and the seconds so far."""

    trainer: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class BestNetwork:
    """The most accurate network so far that the card's architecture can hold, with the normalisation of its input."""

    strategy: str
    test_accuracy: float
    state: dict[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass
class TransferProgress:
    """How far a transfer has come; `write` saves it, so that an interrupted transfer can be resumed.

    features: until the head on them is trained. network: the weights after the last finished strategy of those that
    build on each other.
    """

    finished: list[StrategyResult] = field(default_factory=list)
    features: StoredFeatures | None = None
    network: dict[str, Tensor] | None = None
    best: BestNetwork | None = None
    unfinished: UnfinishedStrategy | None = None
    write: Callable[["TransferProgress"], None] = lambda progress: None

    def state(self) -> dict[str, Any]:
        """As tensors and plain values."""
        return {
            "finished": [
                vars(result) | {"epochs": [epoch.model_dump() for epoch in result.epochs]}
                for result in self.finished
            ],
            "features": vars(self.features) if self.features else None,
            "network": self.network,
            "best": vars(self.best) if self.best else None,
            "unfinished": vars(self.unfinished) if self.unfinished else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state`, as `state()` returned it."""
        self.finished = [
            StrategyResult(**result | {"epochs": [Epoch(**epoch) for epoch in result["epochs"]]})
            for result in state["finished"]
        ]
        self.features = StoredFeatures(**state["features"]) if state["features"] else None
        self.network = state["network"]
        self.best = BestNetwork(**state["best"]) if state["best"] else None
        self.unfinished = UnfinishedStrategy(**state["unfinished"]) if state["unfinished"] else None

    def add(
        self,
        result: StrategyResult,
        network: nn.Module | None,
        normalisation: Normalisation,
        *,
        next_too: bool,
    ) -> None:
        """Record a finished strategy with its network, None where the card's architecture has no place for its head.

        next_too: whether the next strategy builds on this network.
        """
        self.finished.append(result)
        self.features = self.unfinished = None
        if network is not None:
            state = {name: value.cpu().clone() for name, value in network.state_dict().items()}
            if next_too:
                self.network = state
            if self.best is None or result.test_accuracy > self.best.test_accuracy:
                self.best = BestNetwork(
                    result.name, result.test_accuracy, state, normalisation.mean, normalisation.std
                )
        self.write(self)


@dataclass(frozen=True)
class TransferResult:
    """All strategies, the accuracy of linear probes by layer, and the most accurate network.

    strategies: head on stored features, frozen backbone, fine-tuned, from scratch. best: its state; network: the same
    as a network. train, test: the images used.
    """

    strategies: list[StrategyResult]
    probes: dict[str, float]
    best: BestNetwork
    network: nn.Module
    train: Images
    test: Images

    @property
    def stored(self) -> StrategyResult:
        return self.strategies[0]

    @property
    def frozen(self) -> StrategyResult:
        return self.strategies[1]

    @property
    def fine_tuned(self) -> StrategyResult:
        return self.strategies[2]

    @property
    def scratch(self) -> StrategyResult:
        return self.strategies[3]

    @property
    def saved(self) -> StrategyResult:
        """The strategy whose network is saved."""
        return next(result for result in self.strategies if result.name == self.best.strategy)

    @property
    def best_transfer(self) -> StrategyResult:
        """The strategy with the highest test accuracy, other than training from scratch."""
        return max(self.strategies[:3], key=lambda result: result.test_accuracy)
