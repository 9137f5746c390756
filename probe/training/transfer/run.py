"""Transfer a trained network to other classes, by name, into a folder that is a model with its exhibits."""

from pathlib import Path
from typing import Any

from probe.data.images import Images
from probe.device import deterministic_float32
from probe.errors import UserError
from probe.exhibits.storage import save
from probe.interrupts import restated
from probe.locks import exclusive
from probe.model.cards import FILE, Card, Weights, write_card
from probe.model.checkpoints import write_state
from probe.model.loading import load
from probe.model.model import Model
from probe.params import validate
from probe.regular_files import user_path
from probe.training.history import History, downsample, write_history
from probe.training.progress import open_display
from probe.training.resume import TRANSFER_CHECKPOINT, load_checkpoint, read_finished, save_checkpoint
from probe.training.save import accuracy_results, describe_machine, package_versions
from probe.training.splits import default_preprocess, image_notes, open_train_and_test
from probe.training.transfer.config import TransferConfig, TransferRequest
from probe.training.transfer.exhibits import transfer_result
from probe.training.transfer.progress import TransferProgress, TransferResult
from probe.training.transfer.strategies import TransferTrainer

EXHIBITS = "transfer"  # the folder in that of the model with the exhibits of the transfer


def transfer(
    model: str | Path,
    data: str = "digits",
    out: str | Path = "",
    *,
    device: str = "auto",
    root: str | Path | None = None,
    download: bool = False,
    quiet: bool = False,
    **parameters: Any,
) -> Model:
    """Transfer a trained network to other classes and return the fine-tuned one; its folder `out` contains the comparison.

        probe.transfer("vgg-shapes", "folder:birds", out="mybirds", unfreeze=3)

    model: a pretrained name, or a folder with a card. data: a source with a train split, or folder:PATH. parameters:
    those of TransferConfig, the flags of `probe transfer`. root: the folder of the data sets. The same call continues an
    interrupted transfer, and returns a finished one as it is. Raises UserError for invalid input.
    """
    if not str(out):
        raise UserError("transfer needs the folder to write, such as out='mynet'")
    folder = user_path(out)
    request = TransferRequest(str(model), data, folder, validate(TransferConfig, parameters))
    run_transfer(
        request, device=device, root=None if root is None else Path(root), download=download, quiet=quiet
    )
    return load(folder, device=device)


def run_transfer(
    request: TransferRequest,
    *,
    device: str = "auto",
    root: Path | None = None,
    download: bool = False,
    quiet: bool = False,
) -> Card:
    """Transfer the model of `request` to the classes of its data by four strategies; returns the card.

    Its folder gets card.toml and weights.safetensors of the most accurate network, its history where it was trained on
    images, and the exhibits in the folder `transfer`.
    An unfinished transfer found there continues after its last complete epoch and ends with the same bytes; a finished
    one is left as it is. root: folder of the data sets. Raises UserError for invalid input.
    """
    out, config = request.out, request.config
    if (out / FILE).exists():
        return read_finished(out, request.command, quiet=quiet)
    source = load(request.model, device=device)
    train, test, test_split = open_train_and_test(
        request.data, seed=config.seed, root=root, download=download
    )
    # The model's own rule where it takes images of any size, such as 'resize 256, centre crop 227'.
    own = source.card.input.preprocess
    rule = own if own.startswith("resize") else default_preprocess(train, source.shape[1])
    train, test = train.preprocessed(source.shape, rule), test.preprocessed(source.shape, rule)
    with exclusive(out), deterministic_float32():
        if (out / FILE).exists():  # another process has finished it meanwhile
            return read_finished(out, request.command, quiet=quiet)
        result = _transfer(source, train, test, out, config, quiet=quiet)
        card = make_card(request, source, result, rule, test_split)
        card = write_model(card, result, source.name, out)
        (out / TRANSFER_CHECKPOINT).unlink(missing_ok=True)
    return card


def _transfer(
    source: Model, train: Images, test: Images, out: Path, config: TransferConfig, *, quiet: bool
) -> TransferResult:
    """Run all strategies, from where an unfinished transfer in `out` stopped."""
    identity = {
        "model": source.digest,
        "data": train.digest,
        "test": test.digest,
        **config.model_dump(mode="json"),
    }
    checkpoint = load_checkpoint(out, identity, TRANSFER_CHECKPOINT)

    def write(progress: TransferProgress) -> None:
        has_progress = bool(progress.finished)
        state = {"identity": identity, "has_progress": has_progress, "progress": progress.state()}
        save_checkpoint(out, state, TRANSFER_CHECKPOINT)

    progress = TransferProgress(write=write)
    if checkpoint is not None:
        progress.restore(checkpoint["progress"])
    epochs = progress.unfinished.trainer["epochs"] if progress.unfinished else []
    done = config.epochs * max(0, len(progress.finished) - 1) + len(epochs)
    with open_display(3 * config.epochs, done, quiet=quiet) as display:
        for note in image_notes(train, test):
            display.message(f"images: {note}")
        trainer = TransferTrainer(source, train, test, config, progress=progress, display=display)
        if checkpoint is None:
            # Written before anything is computed, so that a folder that cannot be written is an error right away.
            progress.write(progress)
        else:
            display.message(f"resuming the unfinished transfer in {out}: {trainer.current}")
        try:
            return trainer.run()
        except KeyboardInterrupt as stop:
            raise restated(
                stop, f"stopped in {trainer.current}: the same command resumes from there"
            ) from None


def make_card(
    request: TransferRequest, source: Model, result: TransferResult, preprocess: str, test_split: str
) -> Card:
    """The card of the most accurate network, without the digest of its weights."""
    train, test, best = result.train, result.test, result.best
    classes = tuple(train.classes or ())
    gain = result.best_transfer.test_accuracy - result.scratch.test_accuracy
    return source.card.model_copy(
        update={
            "name": request.out.resolve().name,
            "classes": classes,
            "input": source.card.input.model_copy(
                update={"preprocess": preprocess, "mean": best.mean, "std": best.std}
            ),
            "training": {
                "command": request.command,
                "from": source.name,
                "from_sha256": source.digest,
                "data": train.name,
                "data_sha256": train.digest,
                "images": len(train),
                "notes": image_notes(train, test),
                "config": request.config.model_dump(mode="json"),
                "seed": request.config.seed,
                "seconds": round(sum(strategy.seconds for strategy in result.strategies), 1),
                "machine": describe_machine(source.device),
                "versions": package_versions(),
            },
            "results": {
                **accuracy_results(best.test_accuracy * len(test), len(test), test_split),
                "strategy": best.strategy,
                "strategies": {s.name: round(s.test_accuracy, 6) for s in result.strategies},
                "gain_over_scratch": round(gain, 6),
                "measured_by": "probe transfer, in float32",
            },
            "limits": {
                "notes": [
                    f"It was trained on {len(train):,} images of its {len(classes)} classes only.",
                    f"It is the most accurate of {len(result.strategies)} networks on the test images: its accuracy on "
                    "others may be a little lower.",
                ]
            },
        }
    )


def write_model(card: Card, result: TransferResult, backbone: str, out: Path) -> Card:
    """Write the folder, the card last; returns the card with the digest of the weights."""
    saved = result.saved
    try:
        digest = write_state(result.network, out / card.weights.file)
        if saved.epochs:
            write_history(History(epochs=saved.epochs, steps=downsample(saved.losses)), out)
        save(transfer_result(result, backbone), out / EXHIBITS)
        card = card.model_copy(update={"weights": Weights(sha256=digest)})
        write_card(card, out)
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror or error}") from None
    return card
