"""How are the measurements of attribution methods shown side by side?"""

import numpy as np

from probe.analyses.attribution.attribution_tests_run import (
    ENOUGH,
    Findings,
    TestPlan,
    areas,
    halfway,
    memory,
)
from probe.analyses.attribution.selection import Selection
from probe.analyses.job import Arrays
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, ImageGrid, Line, Scale, Table
from probe.methods.attribution.faithfulness import MARGIN
from probe.methods.attribution.registry import EDGES, Method
from probe.methods.attribution.sanity_checks import BLIND, MAX_SIMILARITY

Measured = dict[Method, Arrays]

_LIKENESS = ["last layer shuffled", "half shuffled", "all shuffled", "other image", "runner-up"]


def table(
    name: str,
    found: Measured,
    verdicts: dict[Method, Findings],
    chance: Arrays,
    asked: Selection,
    trial: TestPlan,
) -> Table:
    """A row a method, a column a measure; the caption says who passes what."""
    masks = "object" in chance
    figures = [f"likeness, {what}" for what in _LIKENESS] + [
        "change by noise",
        "insertion area",
        "deletion area",
    ]
    shares = ["completeness error"]
    shares += ["pointing", "peak on object", "mass on object", "rank on object"] if masks else []
    rows = [_row(method, measured, verdicts[method], masks) for method, measured in found.items()]
    random: list[Cell] = ["random order", "", *[0.0] * 5, None]
    random += [_mean(areas(chance["insertion"])), _mean(areas(chance["deletion"])), None]
    if masks:
        random += [_mean(chance[part]) for part in ("object near", "object", "object", "object")]
    return Table(
        title="Verdicts",
        caption=f"{_standing(name, verdicts, len(asked))} A method fails randomisation if its pictures stay more than "
        f"{MAX_SIMILARITY} alike (rank correlation, signs and colours kept, {_images(trial.tested)}) when the last layer alone, or the "
        f"half of the layers nearest the answer, is shuffled; it is blind if another image gives a map more than {BLIND} alike "
        f"for the same question, or the runner-up one for the same image; noise, if noise of {trial.radius:g} changes a map by "
        f"more than its own size; pointing, if its highest pixel is not shown to lie within {MARGIN:.0%} of the side of the object's box "
        f"more often than a random pixel; insertion and deletion, if neither is shown to beat a random order ({_images(len(asked))}). "
        f"Each by its 95 % interval over the images; with fewer than {ENOUGH}, what is not shown is left open. "
        "Edges and the random order look at no network.",
        columns=["method", "verdict", *figures, *shares],
        rows=[*rows, random],
        formats=dict.fromkeys(figures, "{:.2f}") | dict.fromkeys(shares, "{:.1%}"),
    )


def _row(method: Method, measured: Arrays, verdict: Findings, masks: bool) -> list[Cell]:
    row: list[Cell] = [
        method.title,
        str(verdict),
        _mean(measured["last"]),
        _mean(measured["alike"][halfway(measured)]),
        *(_mean(values) for values in (measured["alike"][-1], measured["blind"], measured["classless"])),
        _mean(measured["noise"]),
        _mean(areas(measured["insertion"])),
        _mean(areas(measured["deletion"])),
        float(np.median(measured["complete"])) if "complete" in measured else None,
    ]
    return row + ([_mean(measured[part]) for part in ("pointing", "peak", "mass", "rank")] if masks else [])


def _standing(name: str, verdicts: dict[Method, Findings], n: int) -> str:
    """Who passes, who fails what, and about whom the images are too few to tell."""
    judged = {method.title: verdict for method, verdict in verdicts.items() if method is not EDGES}
    passing = [title for title, verdict in judged.items() if str(verdict) == "passes"]
    failing = [f"{title} ({', '.join(v.failed)})" for title, v in judged.items() if v.failed]
    between = [
        f"{title} ({', '.join(v.undecided)})" for title, v in judged.items() if v.undecided and not v.failed
    ]
    parts = [f"{', '.join(passing)} pass{'' if len(passing) > 1 else 'es'}"] if passing else []
    parts += [f"{', '.join(failing)} fail{'' if len(failing) > 1 else 's'}"] if failing else []
    parts += [f"{_images(n)} cannot tell of {', '.join(between)}"] if between else []
    return f"On {name} {'; '.join(parts)}."


def _images(n: int) -> str:
    return f"{n} images" if n > 1 else "one image"


def likeness_chart(found: Measured, layers: int, tested: int) -> Chart:
    """A line a method: how alike its pictures stay while more layers are shuffled. layers: how many there are."""
    count = len(next(iter(found.values()))["alike"])
    alone = [1 / layers] if count < layers else []
    x = np.array([0.0, *alone, *(np.arange(1, count + 1) / count)])
    tests = {method: memory(measured) for method, measured in found.items() if method is not EDGES}
    rated = {method: test for method, test in tests.items() if not test.flat}
    most = "No method gives a map that tells one pixel from another."
    if rated:
        last = max(rated, key=lambda method: rated[method].last.mean())
        half = max(rated, key=lambda method: rated[method].half.mean())
        most = (
            f"With the last layer alone shuffled {last.title} stays most alike to itself ({rated[last].last.mean():.2f}), "
            f"with half of the layers {'too' if half is last else half.title} ({rated[half].half.mean():.2f})."
        )
    return Chart(
        title="Randomisation, layer by layer",
        caption=f"{most} Rank correlation with the picture of the trained network, signs and colours kept, mean of "
        f"{_images(tested)}; what still shows when nothing that was learnt is left was never about what was learnt.",
        lines=[
            Line(
                name=method.title,
                x=x,
                y=np.array([1.0, *[measured["last"].mean() for _ in alone], *measured["alike"].mean(1)]),
                dashed=method is EDGES,
            )
            for method, measured in found.items()
        ],
        x_label="share of the layers shuffled, from the answer down",
        y_label="likeness to the trained network's picture",
        y_range=(-0.3, 1.0),
    )


def forgetting_pictures(found: Measured, asked: Selection, head: str) -> Exhibit:
    """One image: the map of every method while the network forgets. Each map on a scale of its own."""
    count = len(next(iter(found.values()))["alike"])
    images: list[Array] = []
    for measured in found.values():
        images.append(asked.faces[0])
        for heat in measured["examples"]:
            limit = float(np.quantile(np.abs(heat), 0.995)) or float(np.abs(heat).max()) or 1.0
            images.append(np.clip(heat / limit, -1, 1))
    return ImageGrid(
        title="One image while the network forgets",
        caption=f"Image: {head}. From left to right more layers are shuffled, the last first; a map that does not "
        "change does not depend on them. Each map is divided by its own largest value.",
        images=images,
        columns=count + 3,
        column_headers=[
            "image",
            "trained",
            "last layer",
            *(f"{(i + 1) / count:.0%} shuffled" for i in range(count)),
        ],
        row_headers=[method.title for method in found],
        scale=Scale(low=-1, high=1, kind="diverging", label="share of the map's largest value"),
    )


def curves(found: Measured, chance: Arrays, kind: str) -> Chart:
    """The probability of the answer while pixels are put in or taken away. kind: insertion or deletion."""
    rated = {
        method: _mean(areas(measured[kind])) for method, measured in found.items() if method is not EDGES
    }
    best = (max if kind == "insertion" else min)(rated, key=rated.__getitem__)
    order = "put in" if kind == "insertion" else "taken away"
    n, points = chance[kind].shape
    x = np.linspace(0, 1, points)
    lines = [Line(name=method.title, x=x, y=measured[kind].mean(0)) for method, measured in found.items()]
    return Chart(
        title=f"{kind.capitalize()} of pixels",
        caption=f"Pixels are {order} one after another, the highest of each map first; the rest has the image's mean colour. "
        f"{best.title} does best, area {rated[best]:.2f} against {_mean(areas(chance[kind])):.2f} for a random order. "
        f"{'Mean of ' if n > 1 else ''}{_images(n)}.",
        lines=[*lines, Line(name="random order", x=x, y=chance[kind].mean(0), dashed=True)],
        x_label=f"share of the pixels {order}",
        y_label="probability of the answer",
        y_range=(0.0, 1.0),
    )


def _mean(values: Array) -> float:
    return float(values.mean())
