"""Put a trained network to another task by name, and leave a folder that is a subject and shows what it gained."""

import sys
from pathlib import Path

import numpy as np

from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Exhibit, Line
from probe.exhibits.result import Number, Result
from probe.methods.intervals import wilson
from probe.subject.cards import FILE, Card, Weights, write_card
from probe.subject.checkpoints import write_state
from probe.subject.loading import load
from probe.training.history import History, thinned, write_history
from probe.training.opening import default_fit, open_pair
from probe.training.outcome import machine, versions
from probe.training.recipe import flags
from probe.training.transfer import Transfer, Transferred, Way, transfer


def run_transfer(
    subject: str,
    data: str,
    out: Path,
    options: Transfer,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> tuple[Card, Result]:
    """Train `subject` (as for load) for the classes of `data`, in four ways, into the folder `out`.

    `out` gets card.toml and weights.safetensors of the fine-tuned network, its history, and the exhibits as PNG.
    Returns the card and the exhibits with their numbers. Raises UserError for all that the user can get wrong.
    """
    if (out / FILE).exists() or (out.is_dir() and any(out.iterdir())):
        raise UserError(f"{out} is not empty: choose another --out")
    old = load(subject, device=device)
    train, test, tested_on = open_pair(data, seed=options.seed, root=root, download=download)
    rule = default_fit(train, old.shape[1])
    done = transfer(
        old,
        train.fitted(old.shape, rule),
        test.fitted(old.shape, rule),
        options,
        say=_quiet if quiet else _say,
    )
    result = shown(done, old.name)
    tuned, n = done.ways[2], len(done.test)
    low, high = wilson(tuned.accuracy * n, n)
    command = f"probe transfer {subject} --data {data} --out {out.name} {flags(options)}".strip()
    card = old.card.model_copy(
        update={
            "name": out.resolve().name,
            "classes": tuple(train.classes or ()),
            "input": old.card.input.model_copy(update={"fit": rule}),
            "training": {
                "command": command,
                "from": old.name,
                "from_sha256": old.digest,
                "data": train.name,
                "images": len(done.train),
                "notes": list(dict.fromkeys((*done.train.notes, *done.test.notes))),
                "recipe": options.model_dump(mode="json"),
                "seed": options.seed,
                "seconds": round(sum(way.seconds for way in done.ways), 1),
                "machine": machine(old.device),
                "versions": versions(),
            },
            "results": {
                "split": tested_on,
                "n": n,
                "accuracy": round(tuned.accuracy, 6),
                "interval": [round(low, 5), round(high, 5)],
                "by": "probe transfer, in float32",
            },
            "limits": {
                "notes": [
                    f"It learnt its {len(train.classes or ())} classes from {len(done.train):,} images alone."
                ]
            },
        }
    )
    try:
        out.mkdir(parents=True, exist_ok=True)
        digest = write_state(done.network, out / "weights.safetensors")
        write_history(History(epochs=list(tuned.epochs), steps=thinned(tuned.losses)), out)
        _draw(result, out)
        card = card.model_copy(update={"weights": Weights(sha256=digest)})
        write_card(card, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return card, result


def shown(done: Transferred, name: str) -> Result:
    """The ways side by side, their courses, and the linear probes."""
    n = len(done.test)
    numbers = {
        f"accuracy, {way.name}": Number(value=way.accuracy, **_ends(way, n), n=n, format="{:.2%}")
        for way in done.ways
    }
    scratch, best = done.ways[-1], max(done.ways[:-1], key=lambda way: way.accuracy)
    numbers["gap to training from scratch"] = Number(
        value=best.accuracy - scratch.accuracy, n=n, format="{:+.2%}"
    )
    return Result(exhibits=[_compared(done, name), _courses(done), _probed(done, name)], numbers=numbers)


def _ends(way: Way, n: int) -> dict[str, float]:
    low, high = wilson(way.accuracy * n, n)
    return {"low": low, "high": high}


def _compared(done: Transferred, name: str) -> Chart:
    ways, n = done.ways, len(done.test)
    bands = [wilson(way.accuracy * n, n) for way in ways]
    best = max(ways[:-1], key=lambda way: way.accuracy)
    return Chart(
        title="Four ways to the same classes",
        caption=f"With {len(done.train):,} images, {best.name} reaches {best.accuracy:.1%} of {n:,} test images and "
        f"training from scratch {ways[-1].accuracy:.1%}. Way 1, features computed once, took {ways[0].seconds:.1f} s; "
        f"way 2, the frozen trunk of {name} in the loop, {ways[1].seconds:.1f} s. Bars: 95 %.",
        lines=[
            Line(
                name="test accuracy",
                x=np.arange(len(ways)),
                y=np.array([way.accuracy for way in ways]),
                low=np.array([low for low, _ in bands]),
                high=np.array([high for _, high in bands]),
            )
        ],
        x_label="",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=[way.name for way in ways],
    )


def _courses(done: Transferred) -> Chart:
    ways = [way for way in done.ways if way.epochs]
    first = {way.name: way.epochs[0].test_accuracy for way in ways}
    return Chart(
        title="Courses of the ways that see the images",
        caption="After the first epoch: "
        + ", ".join(f"{name} {accuracy:.0%}" for name, accuracy in first.items())
        + ". Fine-tuning starts from the end of way 2.",
        lines=[
            Line(
                name=way.name,
                x=np.array([epoch.epoch for epoch in way.epochs]),
                y=np.array([epoch.test_accuracy for epoch in way.epochs]),
            )
            for way in ways
        ],
        x_label="epoch",
        y_label="test accuracy",
    )


def _probed(done: Transferred, name: str) -> Chart:
    names, values = list(done.probes), np.array(list(done.probes.values()))
    best = int(values[1:].argmax()) + 1
    return Chart(
        title="Linear probes",
        caption=f"A linear classifier on {names[best]} of {name} tells {values[best]:.1%} of the test images apart, "
        f"on the pixels {values[0]:.1%}, on the last layer {values[-1]:.1%}.",
        lines=[Line(name="test accuracy", x=np.arange(len(names)), y=values)],
        x_label="what the linear classifier reads",
        y_label="test accuracy",
        kind="bar",
        y_range=(0, 1),
        ticks=names,
    )


def _draw(result: Result, out: Path) -> None:
    from probe.exhibits.static import png

    for exhibit in result.exhibits:
        (out / f"{_file(exhibit)}.png").write_bytes(png(exhibit))


def _file(exhibit: Exhibit) -> str:
    return exhibit.title.lower().replace(" ", "-")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)  # noqa: T201  progress, as the rest of it


def _quiet(sentence: str) -> None:
    pass
