"""The page of a transfer, in the folder of the model that it has trained."""

from pathlib import Path

from probe.errors import UserError
from probe.exhibits.storage import load
from probe.exhibits.wording import snake_case
from probe.model.cards import Card
from probe.reporting.document import Report, Section
from probe.reporting.html import write_html
from probe.training.transfer.run import EXHIBITS

PAGE = "report.html"


def write_transfer_page(folder: Path, card: Card) -> Path:
    """Write the page of the transfer in `folder`, whose model has this card; returns its path.

    Raises UserError if the folder does not contain the exhibits of a transfer, or cannot be written.
    """
    try:
        result = load(folder / EXHIBITS)
    except (OSError, ValueError):
        raise UserError(
            f"{folder / EXHIBITS} does not contain the exhibits of a transfer: remove {folder} and repeat the command"
        ) from None
    section = Section(
        anchor=EXHIBITS,
        title="Transfer strategies",
        source="Yosinski et al. 2014, arXiv 1411.1792; Sharif Razavian et al. 2014, arXiv 1403.6382",
        question="Which strategy for transferring the network to these classes is the most accurate?",
        parameters=card.training.get("config", {}),
        result=result,
        seconds=card.training.get("seconds"),
    )
    training = dict(card.training)
    provenance = {
        name: training.pop(name) for name in ("command", "seed", "machine", "versions") if name in training
    }
    report = Report(
        title="Transfer",
        model={
            "name": card.name,
            "architecture": card.architecture,
            "input": card.input.model_dump(mode="json"),
            "classes": list(card.classes),
            "results": card.results,
            "limits": card.limits,
            "digest": card.weights.sha256,
        },
        data={
            "name": training.get("data", ""),
            "images": training.get("images"),
            "notes": training.get("notes", []),
        },
        sections=[section],
        headlines=[
            (EXHIBITS, f"test_accuracy_{snake_case(card.results['strategy'])}"),
            (EXHIBITS, "gain_over_scratch"),
        ],
        provenance=provenance
        | {
            "training": {
                name: training[name] for name in ("from", "from_sha256", "data_sha256") if name in training
            }
        },
    )
    write_html(folder / PAGE, report)
    return folder / PAGE
