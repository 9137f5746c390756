"""What the driver of a run and its workers send each other: specifications, numbers of chunks, and arrays."""

import pickle
from dataclasses import dataclass
from typing import IO, Any

from probe.analyses.analysis import Analysis
from probe.data.images import Images
from probe.exhibits.result import Result
from probe.runs.store import Arrays

_HEADER = 8  # bytes that hold the length of a message


@dataclass(frozen=True)
class ModelSpec:
    """A model that a worker loads itself. batches: sizes of batches, which must not follow the memory of one node."""

    spec: str
    digest: str
    device: str
    batches: tuple[tuple[bool, int], ...]


@dataclass(frozen=True)
class Load:
    """Load the models, of which the first is analysed; they and the images, prepared for it, are those of the next runs.

    Pixels in memory travel with it, and the paths of images on disk.
    """

    models: tuple[ModelSpec, ...]
    images: Images


@dataclass(frozen=True)
class Start:
    """Run `analysis` on the models and images, up to its first chunks."""

    analysis: Analysis
    seed: int


@dataclass(frozen=True)
class Finished:
    """The chunks of the group at which the run waits: it continues with them, up to its next chunks."""

    chunks: list[Arrays]


@dataclass(frozen=True)
class Task:
    """Compute chunk `index` of the `count` chunks called `name`, which are the `group`-th of run number `run`."""

    run: int
    group: int
    name: str
    count: int
    index: int


@dataclass(frozen=True)
class Whole:
    """Run `analysis` from its start to its end. chunks: those that an interrupted run has stored, by their labels."""

    task: Task
    analysis: Analysis
    seed: int
    chunks: dict[str, Arrays]


@dataclass(frozen=True)
class Stop:
    """No more work."""


@dataclass(frozen=True)
class Hello:
    """A worker is ready. versions: of Python, probe and what computes numbers. code: the digest of probe's source."""

    node: str
    versions: dict[str, str]
    code: str


@dataclass(frozen=True)
class Done:
    """The arrays of the chunk of `task`."""

    task: Task
    arrays: Arrays


@dataclass(frozen=True)
class Part:
    """A chunk of a whole run, to be stored until the run is complete; another reply follows."""

    task: Task
    label: str
    arrays: Arrays


@dataclass(frozen=True)
class Complete:
    """The result of a whole run, and the seconds that it took."""

    task: Task
    result: Result
    seconds: float


@dataclass(frozen=True)
class Failed:
    """What the chunk of `task`, or the run before it, raised; its notes hold the traceback."""

    task: Task
    error: Exception


@dataclass(frozen=True)
class Lost:
    """A worker has ended, for `reason`."""

    reason: str


Outcome = Done | Part | Complete | Failed
Reply = Hello | Lost | Outcome


def pack(message: Any) -> bytes:
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def unpack(content: bytes) -> Any:
    """The message that `pack` has made: only for what the processes of a run send each other."""
    return pickle.loads(content)


def write_message(file: IO[bytes], content: bytes) -> None:
    """Write the length of `content` and `content`."""
    file.write(len(content).to_bytes(_HEADER, "big"))
    file.write(content)
    file.flush()


def read_message(file: IO[bytes]) -> bytes | None:
    """The content of the next message; None at the end of the file."""
    header = file.read(_HEADER)
    size = int.from_bytes(header, "big")
    content = file.read(size) if len(header) == _HEADER else b""
    return content if len(header) == _HEADER and len(content) == size else None
