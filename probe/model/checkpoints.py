"""Weights on disk: reading them without running code, and laying them into a network strictly."""

import hashlib
import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from probe.errors import UserError
from probe.regular_files import open_regular

State = dict[str, Tensor]
_UNDER = ("state_dict", "model_state_dict", "model", "net", "network", "params")
_EMPTY = (
    2**20
)  # bytes: an empty tensor, (1000000000, 0), would still make as many rows of what it is read for
_BEFORE = ("module.", "_orig_mod.")


def read_state(path: Path, *, sha256: str = "") -> State:
    """The state dict in a .safetensors, .pt, .pth or .th file. Never runs code that the file may hold.

    It may lie under state_dict, model or net, with `module.` or `_orig_mod.` before its keys.
    Raises UserError for what is not a checkpoint, is cut short, holds code, or has not the digest `sha256`.
    """
    if not path.is_file():
        raise UserError(
            f"there is no checkpoint {path}" if not path.exists() else f"{path} is not a regular file"
        )
    size = path.stat().st_size
    if sha256:
        with open_regular(path) as file:
            found = hashlib.sha256(file.read()).hexdigest()
        if found != sha256:
            raise UserError(
                f"{path} is not the file that its card describes: sha256 {found[:12]}..., card {sha256[:12]}..."
            )
    content = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    state = _bare(content, path)
    for name, value in state.items():
        _validate_tensor(name, value, path, size)
    return state


def _validate_tensor(name: str, value: Tensor, path: Path, size: int) -> None:
    """Refuse a tensor that is no plain array of numbers, or that claims more than the file holds."""
    if value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
        kind = "meta" if value.device.type == "meta" else "quantised" if value.is_quantized else "sparse"
        raise UserError(f"{path} holds a {kind} tensor, {name}: only dense weights can be loaded")
    held = value.untyped_storage().nbytes()
    claimed = max(value.numel(), *value.shape, 0) * value.element_size()
    if claimed > max(held, _EMPTY) or held > size:
        raise UserError(
            f"{path} holds a tensor of {_shape(value)}, {name}, but not its values: it is damaged, or was made to be"
        )


def _validate_zip(path: Path) -> None:
    """torch stores its archives uncompressed: what claims to unpack to more than the file is refused before it does."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError):
        return  # not a zip, or a damaged one: torch says which
    if any(e.compress_type != zipfile.ZIP_STORED for e in entries):
        raise UserError(f"{path} is a compressed archive: torch.save writes none, so it was refused")
    if sum(e.file_size for e in entries) > path.stat().st_size:
        raise UserError(f"{path} claims to hold more than its own size: it is damaged, or was made to be")


def _safetensors(path: Path) -> State:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} is not a safetensors file, or is cut short: {_line(error)}") from None


def _pickled(path: Path) -> Any:
    _validate_zip(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about the pickle's protocol: whatever cannot be read is refused below
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "GLOBAL" in str(error):
            raise UserError(
                f"{path} holds more than weights and would run code when opened, so it was refused: "
                "save its state_dict() and adopt that"
            ) from None
        raise UserError(f"{path} is not a checkpoint, or is cut short") from None
    except (RuntimeError, EOFError, ValueError, LookupError, OSError, AttributeError, TypeError) as error:
        raise UserError(f"{path} is not a checkpoint, or is cut short: {_line(error)}") from None


def _line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__


def _bare(content: Any, path: Path) -> State:
    """The tensors of a checkpoint by their plain names."""
    for key in _UNDER:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(v, Tensor) for v in content.values())
    ):
        raise UserError(
            f"{path} holds no state dict: expected tensors by name, bare or under {', '.join(_UNDER[:3])} or net"
        )
    state: State = {}
    for key, value in content.items():
        name = str(key)
        while name.startswith(_BEFORE):
            name = name.removeprefix(_BEFORE[0]).removeprefix(_BEFORE[1])
        state[name] = value
    return state


def load_state(network: nn.Module, state: State, *, what: str) -> None:
    """Lay `state` into `network` strictly. Raises UserError with a readable difference, or for weights that are not finite."""
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
            for k, n in (("missing", missing), ("unexpected", unexpected), ("of another shape", shapes))
            if n
        ]
        raise UserError(f"{what} is for another network: of {len(own)} tensors {', '.join(parts)}")
    broken = [
        name
        for name, value in state.items()
        if value.is_floating_point() and not bool(torch.isfinite(value).all())
    ]
    if broken:
        raise UserError(f"{what} has weights that are NaN or infinite: {_few(broken)}")
    network.load_state_dict(state, strict=False)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape)) or "a number"


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def write_state(network: nn.Module, path: Path, *, half: bool = False) -> str:
    """Write the weights of `network` as safetensors, whole or not at all; returns the SHA-256 of the file.

    half: matrices and kernels as float16; what is small, biases, gains and statistics, stays as it is.
    """
    from safetensors.torch import save

    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    if half:
        state = {name: value.half() if _is_large(value) else value for name, value in state.items()}
    content = save(state)
    temporary = path.with_name(path.name + ".part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    return hashlib.sha256(content).hexdigest()


def _is_large(value: torch.Tensor) -> bool:
    return value.ndim > 1 and value.is_floating_point()
