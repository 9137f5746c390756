"""Read checkpoints without executing code, load them strictly, and write weights as safetensors."""

import hashlib
import mmap
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from probe.atomic_files import write_whole
from probe.errors import UserError
from probe.regular_files import open_regular

State = dict[str, Tensor]
_WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network", "params")
_EMPTY = 2**20  # bytes: an empty tensor, (1000000000, 0), would still allocate one row for each of its rows
_BYTEARRAY = (b"cbuiltins\nbytearray\n", b"c__builtin__\nbytearray\n")  # as pickles name it
DAMAGED = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    OSError,
    AttributeError,
    TypeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    ImportError,
    struct.error,
    zipfile.BadZipFile,
)
"""What torch raises for damaged files, besides UnpicklingError: its readers validate little themselves."""
_PREFIXES = ("module.", "_orig_mod.")


def read_state(path: Path, *, sha256: str = "") -> State:
    """Read the state dict in a .safetensors, .pt, .pth or .th file, without executing code that the file may contain.

    It may be nested under state_dict, model or net, with the prefixes `module.` or `_orig_mod.`. Raises UserError for
    a file that is missing, not a checkpoint, truncated, contains code or differs from the digest `sha256`.
    """
    if not path.is_file():
        raise UserError(
            f"there is no checkpoint {path}" if not path.exists() else f"{path} is not a regular file"
        )
    size = path.stat().st_size
    if sha256:
        with open_regular(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise UserError(
                f"{path} is not the file that its card describes: sha256 {digest[:12]}..., card {sha256[:12]}..."
            )
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    state = _unwrapped(content, path)
    for name, value in state.items():
        _validate_tensor(name, value, path, size)
    return state


def _validate_tensor(name: str, value: Tensor, path: Path, size: int) -> None:
    """Raise UserError for a tensor that is not a dense array, or whose shape claims more values than the file contains."""
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        kind = "meta" if value.device.type == "meta" else "quantised" if value.is_quantized else "sparse"
        raise UserError(f"{path} contains a {kind} tensor, {name}: only dense weights can be loaded")
    stored = value.untyped_storage().nbytes()
    claimed = max(value.numel(), *value.shape, 0) * value.element_size()
    if claimed > max(stored, _EMPTY) or stored > size:
        raise UserError(
            f"{path} contains a tensor of {_shape(value)}, {name}, without its values: it is damaged or malicious"
        )


def _validate_zip(path: Path) -> None:
    """Raise UserError for a compressed archive, which torch never writes, and for one that claims more than its size."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError):
        return  # not a zip, or a damaged one: torch.load raises the error
    if any("/code/" in e.filename for e in entries):
        raise UserError(
            f"{path} is a TorchScript file, which contains code, so it was refused: save its weights with "
            "torch.save(torch.jit.load(FILE).state_dict(), 'weights.pth') and adopt those"
        )
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise UserError(f"{path} is a compressed archive, which torch.save never writes, so it was refused")
    if sum(e.file_size for e in entries) > path.stat().st_size:
        raise UserError(f"{path} claims to contain more than its own size: it is damaged or malicious")


def _validate_globals(path: Path) -> None:
    """Raise UserError for a pickle that calls bytearray, which torch.load allows, and which fills the memory at will.

    Archives are stored uncompressed (`_validate_zip`), so that the name can be searched in the file.
    """
    with open_regular(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if any(content.find(call) >= 0 for call in _BYTEARRAY):
            raise UserError(
                f"{path} contains a bytearray, which is not a weight: save its state_dict() and import that"
            )


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file or is truncated: {_line(error)}") from None


def _pickled(path: Path) -> Any:
    if path.stat().st_size == 0:
        raise UserError(f"{path} is not a checkpoint: it is empty")
    _validate_zip(path)
    _validate_globals(path)
    try:
        with warnings.catch_warnings():
            # About the protocol of the pickle: what cannot be read is refused below.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UserError(
                f"{path} contains more than weights and would execute code when loaded, so it was refused: "
                "save its state_dict() and import that"
            ) from None
        raise UserError(f"{path} is not a checkpoint or is truncated") from None
    except DAMAGED as error:
        reason = _line(error)
        raise UserError(
            f"{path} is not a checkpoint or is truncated" + (f": {reason}" if " " in reason else "")
        ) from None


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__


def _unwrapped(content: Any, path: Path) -> State:
    """The tensors of a checkpoint by name, without wrappers and prefixes."""
    for key in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise UserError(
            f"{path} contains no state dict: expected tensors by name, at the top level or under "
            f"{', '.join(_WRAPPERS[:3])} or net"
        )
    state: State = {}
    for key, value in content.items():
        name = str(key)
        while name.startswith(_PREFIXES):
            name = name.removeprefix(_PREFIXES[0]).removeprefix(_PREFIXES[1])
        state[name] = value
    return state


def load_state(network: nn.Module, state: State, *, what: str) -> None:
    """Load `state` into `network` strictly. Raises UserError, with the difference, if names or shapes disagree, and for
    weights that are not finite. what: names the checkpoint in these messages."""
    own = network.state_dict()
    counters = {name for name in own if name.endswith("num_batches_tracked")}
    missing = [name for name in own if name not in state and name not in counters]
    unexpected = [name for name in state if name not in own]
    shapes = [
        f"{name} is {_shape(state[name])}, not {_shape(own[name])}"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    if missing or unexpected or shapes:
        parts = [
            f"{len(n)} {k} ({_few(n)})"
            for k, n in (("missing", missing), ("unexpected", unexpected), ("with a different shape", shapes))
            if n
        ]
        raise UserError(f"{what} does not match the network: of {len(own)} tensors, {', '.join(parts)}")
    other_kinds = [
        f"{name} is {_kind(state[name])}, not {_kind(own[name])}"
        for name in own
        if name in state and not _fits(state[name], own[name])
    ]
    if other_kinds:
        raise UserError(
            f"{what} contains values whose type differs from that of the network's weights: {_few(other_kinds)}"
        )
    not_finite = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not bool(torch.isfinite(value.float()).all())
    ]
    if not_finite:
        raise UserError(f"{what} contains weights that are NaN or infinite: {_few(not_finite)}")
    network.load_state_dict(state, strict=False)


def _fits(value: Tensor, own: Tensor) -> bool:
    """Whether `value` can replace `own` without a change of meaning: no complex, bool or whole numbers for floats."""
    if own.is_floating_point():
        return value.is_floating_point()
    return own.is_complex() or not value.is_complex()


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def write_state(network: nn.Module, path: Path, *, half: bool = False) -> str:
    """Write the weights of `network` as safetensors, atomically; returns the SHA-256 of the file.

    half: store matrices and kernels as float16; biases, gains and statistics keep their type.
    """
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if _is_large(value) else value for name, value in state.items()}
    content = save(state)
    write_whole(path, content)
    return hashlib.sha256(content).hexdigest()


def _is_large(value: torch.Tensor) -> bool:
    return value.ndim > 1 and value.is_floating_point()
