"""Results of transfer strategies, and how far a transfer has come, for checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from probe.data.images import Images
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


@dataclass
class TransferProgress:
    """How far a transfer has come; `write` saves it, so that an interrupted transfer can be resumed.

    features: until the head on them is trained. network: the weights after the last finished strategy of those that
    build on each other.
    """

    finished: list[StrategyResult] = field(default_factory=list)
    features: StoredFeatures | None = None
    network: dict[str, Tensor] | None = None
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
        self.unfinished = UnfinishedStrategy(**state["unfinished"]) if state["unfinished"] else None

    def add(self, result: StrategyResult, network: nn.Module | None = None) -> None:
        """Record a finished strategy, with the network on which the next ones build."""
        self.finished.append(result)
        self.features = self.unfinished = None
        if network is not None:
            self.network = {name: value.cpu().clone() for name, value in network.state_dict().items()}
        self.write(self)


@dataclass(frozen=True)
class TransferResult:
    """All strategies, the accuracy of linear probes by layer, and the fine-tuned network.

    strategies: head on stored features, frozen backbone, fine-tuned, from scratch. train, test: the images used.
    """

    strategies: list[StrategyResult]
    probes: dict[str, float]
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
    def best_transfer(self) -> StrategyResult:
        """The strategy with the highest test accuracy, other than training from scratch."""
        return max(self.strategies[:3], key=lambda result: result.test_accuracy)
