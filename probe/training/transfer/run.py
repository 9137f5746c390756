"""Put a trained network to another task by name, and leave a folder that is a model and shows what it gained."""

from pathlib import Path
from typing import Any

from probe.data.images import Images
from probe.device import deterministic_float32
from probe.errors import UserError
from probe.locks import exclusive
from probe.model.cards import FILE, Card, Weights, write_card
from probe.model.checkpoints import write_state
from probe.model.loading import load
from probe.model.model import Model
from probe.statistics import wilson_interval
from probe.training.config import flags
from probe.training.history import History, thinned, write_history
from probe.training.progress import shown
from probe.training.resume import TRANSFER, finished, save, unfinished
from probe.training.save import draw, machine, versions
from probe.training.splits import default_preprocess, notes, open_pair
from probe.training.transfer.exhibits import exhibits
from probe.training.transfer.strategies import Kept, Transfer, Transferred, Transferring


def run_transfer(
    model: str,
    data: str,
    out: Path,
    options: Transfer,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> Card:
    """Train `model` (as for load) for the classes of `data`, in four ways, into the folder `out`.

    `out` gets card.toml and weights.safetensors of the fine-tuned network, its history, and the exhibits as PNG.
    An unfinished transfer found there goes on after its last whole epoch and ends with the same bytes; a finished
    one is left as it is. Returns the card. Raises UserError for all that the user can get wrong.
    """
    command = f"probe transfer {model} --data {data} --out {out.name} {flags(options)}".strip()
    if (out / FILE).exists():
        return finished(out, command, quiet=quiet)
    old = load(model, device=device)
    train, test, tested_on = open_pair(data, seed=options.seed, root=root, download=download)
    # The trunk's own rule where it takes images of any size, such as 'resize 256, centre crop 227'.
    own = old.card.input.preprocess
    rule = own if own.startswith("resize") else default_preprocess(train, old.shape[1])
    train, test = train.preprocessed(old.shape, rule), test.preprocessed(old.shape, rule)
    identity = {
        "model": old.digest,
        "data": train.digest,
        "test": test.digest,
        **options.model_dump(mode="json"),
    }
    with exclusive(out), deterministic_float32():
        if (out / FILE).exists():  # made by another process since
            return finished(out, command, quiet=quiet)
        done = _transfer(old, train, test, out, options, identity, quiet=quiet)
        card = _card(old, done, options, command=command, rule=rule, tested_on=tested_on)
        card = _write(card.model_copy(update={"name": out.resolve().name}), done, old.name, out)
        (out / TRANSFER).unlink(missing_ok=True)
    return card


def _transfer(
    old: Model,
    train: Images,
    test: Images,
    out: Path,
    options: Transfer,
    identity: dict[str, Any],
    *,
    quiet: bool,
) -> Transferred:
    """All ways, from where an unfinished transfer in `out` stopped."""
    checkpoint = unfinished(out, identity, TRANSFER)

    def write(kept: Kept) -> None:
        save(out, {"identity": identity, "learnt": bool(kept.ways), "kept": kept.state()}, TRANSFER)

    kept = Kept(write=write)
    if checkpoint is not None:
        kept.restore(checkpoint["kept"])
    epochs = kept.under_way["trainer"]["epochs"] if kept.under_way else []
    passed = options.epochs * max(0, len(kept.ways) - 1) + len(epochs)
    with shown(3 * options.epochs, passed, quiet=quiet) as display:
        for note in notes(train, test):
            display.say(f"images: {note}")
        transferring = Transferring(old, train, test, options, kept=kept, shown=display)
        if checkpoint is None:
            # Written before anything is computed: a folder that cannot be written is found out now.
            kept.write(kept)
        else:
            display.say(f"going on with {transferring.doing} of the unfinished transfer in {out}")
        try:
            return transferring.run()
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped in {transferring.doing}: the same command goes on from there"
            ) from None


def _card(
    old: Model, done: Transferred, options: Transfer, *, command: str, rule: str, tested_on: str
) -> Card:
    train, test = done.train, done.test
    classes, n = tuple(train.classes or ()), len(test)
    tuned, scratch = done.ways[2], done.ways[3]
    low, high = wilson_interval(tuned.accuracy * n, n)
    accuracies: dict[str, Any] = {way.name: round(way.accuracy, 6) for way in done.ways}
    best = max(way.accuracy for way in done.ways if way is not scratch)
    return old.card.model_copy(
        update={
            "classes": classes,
            "input": old.card.input.model_copy(update={"preprocess": rule}),
            "training": {
                "command": command,
                "from": old.name,
                "from_sha256": old.digest,
                "data": train.name,
                "data_sha256": train.digest,
                "images": len(train),
                "notes": notes(train, test),
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
                "ways": accuracies,
                "gap_to_scratch": round(best - scratch.accuracy, 6),
                "by": f"probe transfer, in float32; the network of this folder is {tuned.name}",
            },
            "limits": {"notes": [f"It learnt its {len(classes)} classes from {len(train):,} images alone."]},
        }
    )


def _write(card: Card, done: Transferred, trunk: str, out: Path) -> Card:
    """The folder; the card comes last."""
    tuned = done.ways[2]
    try:
        digest = write_state(done.network, out / card.weights.file)
        write_history(History(epochs=tuned.epochs, steps=thinned(tuned.losses)), out)
        for name, exhibit in exhibits(done, trunk).items():
            draw(out / f"{name}.png", exhibit)
        card = card.model_copy(update={"weights": Weights(sha256=digest)})
        write_card(card, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return card
