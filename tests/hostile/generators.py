"""Hostile and damaged inputs, each determined by its number: files in a folder and the command that reads them."""

import csv
import io
import json
import os
import pickle
import random
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save as save_safetensors

CONTROL = "\x1b[31m\x1b]0;t\x07\r\n\u202e"
NAMES = ("x", "é", "a b", CONTROL, "~", "#", "[/red]", "%s", "{0}", "x" * 200, "-", "'\"", "<script>", "中")
NUMBERS = (0, 1, -1, 2, 3, 255, 2**31, 2**63, 2**64, 10**30, 10**400, -(2**63), 20240101)


class Executes:
    """Pickled, it would touch the canary when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


class Calls:
    """Pickled, it calls `function` with `arguments`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def damaged(content: bytes, rng: random.Random) -> bytes:
    """`content` cut, with other bits or bytes, with a part repeated, or followed by others."""
    out = bytearray(content)
    kind = rng.choice(["cut", "flip", "bytes", "repeat", "zeros", "more", "empty"])
    if not out or kind == "empty":
        return b""
    place = rng.randrange(len(out))
    if kind == "cut":
        del out[place:]
    elif kind == "repeat":
        out[place:place] = out[: rng.randrange(1, 2000)]
    elif kind == "zeros":
        out[place:] = bytes(len(out) - place)
    elif kind == "more":
        out += rng.randbytes(rng.randrange(1, 500))
    else:
        for _ in range(rng.randrange(1, 9)):
            place = rng.randrange(len(out))
            out[place] = out[place] ^ 1 << rng.randrange(8) if kind == "flip" else rng.randrange(256)
    return bytes(out)


def checkpoint(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """A checkpoint of LeNet-5, damaged, with other tensors, or with more than weights."""
    state: dict[str, object] = dict(torch.load(base / "net.pth", weights_only=True))
    name = rng.choice(list(state))
    suffix = rng.choice([".pth", ".pt", ".th", ".safetensors", ".pth"])
    odd = [
        lambda: Executes(folder / "canary"),
        lambda: Calls(bytearray, 10**11),
        lambda: Calls(eval, f"open({str(folder / 'canary')!r}, 'w')"),
        lambda: torch.zeros(1).expand(10**9),
        lambda: torch.empty(10**9, device="meta"),
        lambda: torch.eye(4).to_sparse(),
        lambda: torch.zeros(rng.choice([0, 1, 7]), rng.choice([0, 3])),
        lambda: torch.zeros(
            3, dtype=rng.choice([torch.complex64, torch.bool, torch.int64, torch.float8_e5m2])
        ),
        lambda: torch.full((6,), rng.choice([float("nan"), float("inf")])),
        lambda: rng.choice([None, 3, "text", [1], {"a": torch.zeros(2)}, torch.float32, (1, 2)]),
    ]
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        key = rng.choice([name, *NAMES])
        state[key] = rng.choice(odd)()
    content: object = (
        {rng.choice(["state_dict", "model", "net", *NAMES]): state} if rng.random() < 0.2 else state
    )
    path = folder / f"net{suffix}"
    if suffix == ".safetensors":
        dense = {
            key: value.contiguous()
            for key, value in state.items()
            if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.numel() < 10**6
        }
        data = save_safetensors(dense)
        if rng.random() < 0.5:  # another header
            size = struct.unpack("<Q", data[:8])[0]
            header = json.loads(data[8 : 8 + size])
            entry = header[rng.choice([key for key in header if key != "__metadata__"])]
            entry[rng.choice(list(entry))] = rng.choice(
                [[10**9, 0], [2**63], "F32", "F4", [0, 2**40], [5, 3], [], None, -1]
            )
            text = json.dumps(header).encode()
            data = struct.pack("<Q", len(text)) + text + data[8 + size :]
    else:
        stream = io.BytesIO()
        torch.save(
            content,
            stream,
            pickle_protocol=rng.choice([2, 2, 3, 4]),
            _use_new_zipfile_serialization=rng.random() < 0.5,
        )
        data = stream.getvalue()
        if rng.random() < 0.1:
            data = pickle.dumps(content)
    path.write_bytes(damaged(data, rng) if rng.random() < 0.5 else data)
    return ["adopt", str(path), "--arch", "zoo:lenet5", "--size", "32", "--out", str(folder / "out")]


def picture(rng: random.Random) -> bytes:
    """An image file: whole, damaged, or declaring another size."""
    kind = rng.choice(["PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PNG"])
    mode = rng.choice(["RGB", "L", "RGBA", "LA", "P", "1", "I;16", "CMYK"])
    mode = mode if kind == "PNG" and mode != "CMYK" else "L" if mode == "L" and kind != "WEBP" else "RGB"
    size = rng.choice([(8, 8), (1, 1), (9, 40), (1, 300), (28, 28)])
    stream = io.BytesIO()
    if mode == "I;16":
        Image.fromarray(np.full(size[::-1], rng.randrange(2**16), np.uint16)).save(stream, kind)
    else:
        Image.new("RGB", size, rng.choice(["red", "white", "black"])).convert(mode).save(stream, kind)
    data = stream.getvalue()
    if kind == "PNG" and rng.random() < 0.3:
        sides = [rng.choice([0, 1, 8, 65_536, 65_537, 10**6, 8 * 10**7, 2**31 - 1, 2**32 - 1]) for _ in "wh"]
        header = b"IHDR" + struct.pack(">II", *sides) + data[24:29]
        data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
    return damaged(data, rng) if rng.random() < 0.5 else data


def _special(path: Path, rng: random.Random) -> None:
    if rng.random() < 0.5:
        os.mkfifo(path)
    else:
        path.symlink_to(rng.choice(["/dev/zero", "/dev/random", "nowhere", ".", path.name]))


def images(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """A folder or zip of some images, with odd names and files that are no files."""
    data = folder / "images"
    classes = rng.choice([[""], ["a", "b"], [*NAMES[:6]], ["0", "1"], ["train", "test"]])
    files: dict[str, bytes] = {}
    for label in classes:
        for index in range(rng.randrange(1, 4)):
            stem = rng.choice([str(index), f"{rng.choice(NUMBERS)}_{index}"[:200], rng.choice(NAMES)])
            suffix = rng.choice([".png", ".jpg", ".webp", ".bmp", ".PNG"])
            files[f"{label.strip('~')}/{stem}{suffix}".lstrip("/")] = picture(rng)
    target = str(data)
    if rng.random() < 0.4:
        method = rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", method) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        target = str(folder / "images.zip")
        Path(target).write_bytes(damaged(stream.getvalue(), rng) if rng.random() < 0.6 else stream.getvalue())
        target += rng.choice(["", "", "/a", "/nothing"])
    else:
        for name, content in files.items():
            path = data / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        if rng.random() < 0.3:
            _special(data / "special.png", rng)
        if rng.random() < 0.2:
            Path(os.fsdecode(os.fsencode(data) + b"/\xff\xe9.png")).write_bytes(picture(rng))
    command = ["classify", "--model", "lenet5-digits", "--data", f"folder:{target}", "--device", "cpu"]
    if rng.random() < 0.3:
        command += ["--n", str(rng.choice([1, 2, 10**6]))]
    if rng.random() < 0.4:
        command += ["--labels", _labels(rng, folder, list(files))]
    return [*command, "--out", str(folder / "out")]


def _labels(rng: random.Random, folder: Path, names: list[str]) -> str:
    kind = rng.choice(["prefix", "table", "table", "table", "special", "missing"])
    path = folder / "labels.csv"
    if kind == "special":
        _special(path, rng)
    elif kind == "table":
        stream = io.StringIO()
        table = csv.writer(stream)
        for name in names:
            label = rng.choice(
                ["0", "1", str(rng.choice(NUMBERS)), rng.choice(NAMES), "9" * rng.choice([5, 5000])]
            )
            table.writerow([name, label] if rng.random() < 0.97 else [name])
        text = stream.getvalue().encode("utf-8", "surrogateescape")
        path.write_bytes(damaged(text, rng) if rng.random() < 0.3 else text)
    return "prefix" if kind == "prefix" else str(path)


def _value(rng: random.Random) -> str:
    """A value as TOML writes it."""
    return rng.choice(
        [
            *map(str, NUMBERS),
            "1e400",
            "nan",
            "inf",
            "true",
            '"text"',
            '"\\u0000"',
            '"\\u001b[31m\\n"',
            '"8/255"',
            '"1' + "0" * 400 + '/3"',
            "[]",
            "[1, 2]",
            "[1, 32, 32]",
            "[[[]]]",
            "{}",
            "{a = 1}",
            "1979-05-27",
            "0.5",
            "[0.5]",
            "[0.0]",
            '["a", "b"]',
            "[" * 200 + "]" * 200,
            "[" * 5000 + "]" * 5000,
        ]
    )


def _other_lines(text: str, rng: random.Random) -> bytes:
    """TOML with other values, fewer lines or more of them, sometimes damaged."""
    lines = text.splitlines()
    for _ in range(rng.randrange(1, 4)):
        place = rng.randrange(len(lines))
        key, equals, _old = lines[place].partition(" = ")
        action = rng.choice(["value", "value", "value", "drop", "add", "twice"])
        if action == "value" and equals:
            lines[place] = f"{key} = {_value(rng)}"
        elif action == "drop" and len(lines) > 1:
            del lines[place]
        elif action == "twice":
            lines.insert(place, lines[place])
        else:
            lines.insert(
                place, f"{rng.choice(['depth', 'options', 'name', 'eps', 'x', 'n'])} = {_value(rng)}"
            )
    content = "\n".join(lines).encode()
    return damaged(content, rng) if rng.random() < 0.2 else content


def card(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """A model folder with another card, sometimes with code beside it."""
    model = folder / "model"
    model.mkdir()
    os.link(base / "model" / "weights.safetensors", model / "weights.safetensors")
    text = (base / "model" / "card.toml").read_text()
    if rng.random() < 0.1:
        (model / "evil.py").write_text(f"open({str(folder / 'canary')!r}, 'w')\ndef make(**_): pass\n")
        text = text.replace("zoo:lenet5", "evil.py:make")
    elif rng.random() < 0.2:
        other = rng.choice(
            ["zoo:resnet20", "zoo:conv2", "torchvision:resnet18", "zoo:vgg-small", "timm:x", "x.py:f"]
        )
        text = text.replace("zoo:lenet5", other)
    if rng.random() < 0.2:
        option = rng.choice(
            ["depth", "width", "dropout", "widths", "growth", "classes", "whiten", "batch_norm"]
        )
        text += f"\n[options]\n{option} = {_value(rng)}\n"
    if rng.random() < 0.05:
        _special(model / "card.toml", rng)
    else:
        (model / "card.toml").write_bytes(_other_lines(text, rng))
    return ["layers", str(model)]


def recipe(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """A recipe with other values."""
    text = 'title = "A recipe"\n[[analysis]]\nname = "filters"\n[[analysis]]\nname = "fgsm"\neps = "8/255"\n'
    path = folder / "recipe.toml"
    if rng.random() < 0.05:
        _special(path, rng)
    else:
        path.write_bytes(_other_lines(text, rng))
    command = [
        "report",
        "--recipe",
        str(path),
        "--model",
        "lenet5-digits",
        "--data",
        "digits:test",
        "--n",
        "4",
    ]
    return [*command, "--device", "cpu", "--out", str(folder / "out")]


def arguments(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """Odd values of options; none of these commands starts long work."""
    out = rng.choice([str(folder / "out"), "~nouser/x", "x" * 300, "y/" * 3000, "/proc/x", "/dev/null/x"])
    odd = rng.choice(
        [*NAMES, *map(str, NUMBERS), "9" * 5000, "1" * 400 + "/3", "", " ", ",", "=", "nan", "1e999"]
    )
    command = rng.choice(
        [
            ["fgsm", "--eps", odd],
            ["fgsm", "--seed", odd],
            ["fgsm", "--n", odd],
            ["fgsm", "--model", odd],
            ["fgsm", "--data", rng.choice(["", "folder:", "shapes:"]) + odd],
            ["filters", "--layers", odd],
            ["filters", "--seed", odd],
            ["filters", "--device", odd],
            ["train", odd],
            ["train", "lenet5", "--data", odd],
            ["transfer", odd],
            ["adopt", odd, "--arch", "zoo:lenet5"],
            [odd],
            ["report", "--recipe", odd],
        ]
    )
    if command[0] in ("fgsm", "filters") and "--model" not in command:
        command += ["--model", "lenet5-digits"]
    if command[0] == "fgsm" and "--data" not in command:
        command += ["--data", "digits:test"]
    if command[0] == "fgsm" and "--n" not in command:
        command += ["--n", "4"]
    return [*command, "--out", out]


def run_folder(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """A finished run of which files are damaged: the same command must end with the same bytes."""
    import shutil

    shutil.copytree(base / "runs", folder / "out")
    files = [path for path in sorted((folder / "out").rglob("*")) if path.is_file()]
    for _ in range(rng.randrange(1, 4)):
        path = rng.choice(files)
        if rng.random() < 0.1:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(damaged((base / "runs" / path.relative_to(folder / "out")).read_bytes(), rng))
    return run_command(folder / "out")


def run_command(out: Path) -> list[str]:
    """The command of the run that `run_folder` damages."""
    command = ["fgsm", "--model", "lenet5-digits", "--data", "digits:test", "--n", "4", "--eps-steps", "2"]
    return [*command, "--device", "cpu", "--out", str(out)]


ANALYSES = (
    ["classify"],
    ["architecture"],
    ["filters"],
    ["image-statistics"],
    ["activations"],
    ["top-patches"],
    ["neighbours"],
    ["fgsm", "--eps-steps", "2"],
    ["backprop", "--examples", "1"],
    ["attribution", "--examples", "1", "--methods", "gradient,gradcam,occlusion(window=8)"],
    ["tuning-curves", "--orientations", "4", "--frequencies", "3"],
    ["maximise", "--steps", "2", "--n-units", "1"],
    ["conductance", "--examples", "1", "--steps", "4"],
    ["attack-path", "--max-images", "3", "--grid", "5", "--examples", "1", "--attack", "pgd(steps=2)"],
    ["surface", "--x=-1:1:3", "--y=-1:1:3"],
    ["curvature", "--top", "1", "--steps", "3", "--runs", "1", "--plane-points", "3"],
    ["residual-paths", "--samples", "4", "--draws", "2"],
    ["dream", "--image", "china.jpg", "--size", "24", "--octaves", "1", "--steps", "1"],
    ["invert", "--image", "china.jpg", "--n-layers", "1", "--restarts", "1", "--steps", "2"],
)


def network(rng: random.Random, folder: Path, base: Path) -> list[str]:
    """An odd network, adopted and analysed."""
    import torch
    from odd import SIZE, make

    number = rng.randrange(2**31)
    built = make(number)
    torch.save(built.state_dict(), folder / "net.pth")
    (folder / "net.py").write_text(f"from odd import make as odd\ndef make(): return odd({number})\n")
    adopt = ["adopt", str(folder / "net.pth"), "--arch", f"{folder / 'net.py'}:make", "--size", str(SIZE)]
    if rng.random() < 0.7:
        adopt += ["--channels", str(getattr(built, "channels", 3))]
    analysis = rng.choice(ANALYSES)
    images = ["--data", "digits:test", "--n", "6", "--device", "cpu"]
    return [
        *adopt,
        *["--out", str(folder / "adopted"), THEN],
        *[*analysis, "--model", str(folder / "adopted"), *images, "--out", str(folder / "out")],
    ]


GENERATORS = (checkpoint, images, card, recipe, arguments, run_folder, network)
WEIGHTS = (27, 27, 13, 5, 9, 9, 10)
THEN = "then"
"""Between two commands, of which the second runs where the first succeeds."""


def generate(number: int, folder: Path, base: Path) -> tuple[str, list[str]]:
    """The kind and the command line of input `number`, whose files are written into `folder`."""
    rng = random.Random(f"hostile {number}")
    generator = rng.choices(GENERATORS, WEIGHTS)[0]
    return generator.__name__, generator(rng, folder, base)
