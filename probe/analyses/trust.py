"""Which attribution methods can be believed on this subject?"""

from dataclasses import replace

import numpy as np
import torch
from pydantic import Field

from probe.analyses.analysis import Analysis, Arrays, Job
from probe.analyses.parts.asked import Asked, ask
from probe.data.images import Images
from probe.exhibits.exhibits import Array, Cell, Chart, Exhibit, Line, Pictures, Scale, Table
from probe.exhibits.result import Number, Result
from probe.methods.attribution import completeness_error
from probe.methods.explainers import EDGES, METHODS, Method, Settings, chosen, maps_of
from probe.methods.faithfulness import (
    MARGIN,
    area,
    near,
    peak_on,
    perturbation_curve,
    pointing,
    relevance_mass,
    relevance_rank,
    sensitivity,
)
from probe.methods.intervals import wilson
from probe.methods.randomisation import BLIND, FAILS, all_flat, duplicate, likeness, shuffle, stages
from probe.params import Fraction, Names
from probe.subject.subject import Subject

_BUDGET = 4e11  # multiply-accumulates for either part: seconds on two cores
_UNSTABLE = 1.0


def examine(
    method: Method,
    subject: Subject,
    asked: Asked,
    settings: Settings,
    *,
    tested: int,
    count: int,
    points: int,
    radius: float,
) -> Arrays:
    """Everything that is measured of one method.

    asked: the images; of them the first `tested` go through `count` stages of randomisation and the noise.
    Returns alike (count, tested), examples (1 + count, h, w) maps of the first image, blind (tested,) likeness to
    the map that another image gives for the same question, classless (tested,) to the map for the runner-up, noise (tested,), insertion and deletion (n, points),
    flat () 1 where no map tells one pixel from another, complete (n,) for integrated gradients, and, where masks are known, pointing, peak, mass and rank (n,).
    """
    pixels, targets = asked.pixels, asked.targets
    maps = method.map(subject, pixels, targets, settings)
    few = pixels[:tested], targets[torch.arange(tested, device=pixels.device)]
    rng = torch.Generator().manual_seed(settings.seed)
    other, alike, examples = duplicate(subject), [], [maps[0]]
    for names in stages(other, count):
        shuffle(other, names, few[0], rng)
        now = method.map(other, *few, settings)
        alike.append(likeness(maps[:tested], now))
        examples.append(now[0])
    noise = sensitivity(
        lambda moved: method.map(subject, moved, few[1], settings),
        few[0],
        maps[:tested],
        radius=radius,
        draws=1,
        rng=rng,
    )
    background = pixels.mean((2, 3), keepdim=True).expand_as(pixels)
    curves = {
        name: perturbation_curve(
            subject, pixels, asked.answer, maps, background, points=points, insert=insert
        )
        for name, insert in (("insertion", True), ("deletion", False))
    }
    found = {"examples": torch.stack(examples), "noise": noise, **curves}
    if asked.images.masks is not None:
        masks = asked.images.masks
        found |= {
            "pointing": pointing(maps, masks),
            "peak": peak_on(maps, masks),
            "mass": relevance_mass(maps, masks),
            "rank": relevance_rank(maps, masks),
        }
    if method.name == "integrated_gradients":
        found["complete"] = completeness_error(subject, pixels, targets, maps, baseline=settings.baseline)
    found["flat"] = torch.tensor(all_flat(maps))
    arrays = {name: values.float().cpu().numpy() for name, values in found.items()}
    elsewhere = method.map(subject, few[0].roll(1, 0), few[1], settings)
    otherwise = method.map(subject, few[0], asked.second[:tested], settings)
    return arrays | {
        "alike": np.stack(alike),
        "blind": likeness(maps[:tested], elsewhere),
        "classless": likeness(maps[:tested], otherwise),
    }


class Trust(Analysis):
    """Which attribution methods can be believed on this subject?"""

    name = "trust"
    title = "Can the pictures be believed?"
    source = "Adebayo et al. 2018, arXiv 1810.03292; Yeh et al. 2019; Zhang et al. 2018; Petsiuk et al. 2018; Arras et al. 2022"

    quick = {"count": 4, "tested": 2, "stages": 2, "steps": 2, "samples": 2, "points": 3}

    methods: Names = Field(tuple(METHODS), description=f"which of {', '.join(METHODS)}")
    count: int = Field(
        0, ge=0, le=10_000, description="images to measure on (0: 4 to 64, as the network's cost allows)"
    )
    tested: int = Field(
        0,
        ge=0,
        le=1000,
        description="of them through randomisation and noise (0: 2 to 16, as the cost allows)",
    )
    stages: int = Field(
        4, ge=2, le=200, description="steps in which the weights are shuffled, last layers first"
    )
    steps: int = Field(8, ge=1, le=1000, description="points on the way of integrated gradients")
    samples: int = Field(8, ge=1, le=1000, description="noisy copies of SmoothGrad")
    window: int = Field(
        0, ge=0, le=1024, description="side of the occluding square (0: a quarter of the image)"
    )
    layer: str = Field("", description="layer of Grad-CAM (default: the last with maps of 4 x 4 or more)")
    points: int = Field(11, ge=3, le=200, description="shares of the pixels on insertion and deletion curves")
    radius: Fraction = Field(
        0.02, gt=0, le=1, description="size of the noise for the sensitivity, in pixel values"
    )

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        methods = chosen(self.methods)
        if self.layer:
            subject.layers.find(self.layer)
        seed = int(torch.randint(2**31, (1,), generator=job.rng))
        macs = max(1, sum(layer.macs for layer in subject.layers if layer.leaf))
        asked = ask(
            subject, images, self.count or int(np.clip(_BUDGET / (500 * macs), 4, 64)), "predicted", seed
        )
        tested = min(
            len(asked), self.tested or int(np.clip(_BUDGET / (130 * (self.stages + 1) * macs), 2, 16))
        )
        settings = Settings(
            steps=self.steps,
            samples=self.samples,
            window=self.window or max(1, min(subject.shape[1:]) // 4),
            layer=self.layer,
            seed=seed,
        )
        one = torch.zeros(1, dtype=torch.long, device=asked.pixels.device)
        cheap = replace(settings, steps=1, samples=1)
        usable, left_out = maps_of(methods, subject, asked.pixels[:1], asked.targets[one], cheap)
        ready = [METHODS[name] for name in usable] + [EDGES]

        def compute(method: Method, rng: torch.Generator) -> Arrays:
            return examine(
                method,
                subject,
                asked,
                settings,
                tested=tested,
                count=self.stages,
                points=self.points,
                radius=self.radius,
            )

        found = dict(zip(ready, job.chunks("trust", ready, compute), strict=True))
        chance = _chance(subject, asked, self.points, seed)
        verdicts = {method: _verdict(measured, chance, asked) for method, measured in found.items()}
        warnings = [f"{METHODS[name].title} is left out: {why}." for name, why in left_out.items()]
        if asked.images.masks is None:
            warnings.append(
                f"{images.name} has no masks: pointing game, relevance mass and rank are left out. `shapes` has them."
            )
        numbers = {
            f"likeness after randomisation, {method.name}": Number(
                value=_halfway(measured), n=tested, format="{:.2f}"
            )
            for method, measured in found.items()
            if method is not EDGES
        }
        for method, measured in found.items():
            if "pointing" in measured and method is not EDGES:
                hits = int(measured["pointing"].sum())
                low, high = wilson(hits, len(asked))
                numbers[f"pointing accuracy, {method.name}"] = Number(
                    value=hits / len(asked), low=low, high=high, n=len(asked), format="{:.0%}"
                )
            if "complete" in measured:
                numbers["completeness error"] = Number(
                    value=float(np.median(measured["complete"])), n=len(asked), format="{:.2%}"
                )
        return Result(
            exhibits=[
                _table(subject, found, verdicts, chance, asked, tested, self.radius),
                _likeness_chart(found, tested),
                _randomised_pictures(found, asked, asked.heads(subject)[0]),
                *(_curves(found, chance, kind, len(asked)) for kind in ("insertion", "deletion")),
            ],
            numbers=numbers,
            warnings=warnings,
        )


def _chance(subject: Subject, asked: Asked, points: int, seed: int) -> Arrays:
    """What maps of noise would get: areas and curves for a random order, and the objects' share of the images."""
    heat = torch.rand(asked.pixels[:, 0].shape, generator=torch.Generator().manual_seed(seed)).to(
        asked.pixels
    )
    background = asked.pixels.mean((2, 3), keepdim=True).expand_as(asked.pixels)
    curves = {
        name: perturbation_curve(
            subject, asked.pixels, asked.answer, heat, background, points=points, insert=insert
        )
        for name, insert in (("insertion", True), ("deletion", False))
    }
    found = {name: curve.float().cpu().numpy() for name, curve in curves.items()}
    if asked.images.masks is not None:
        found["object"] = asked.images.masks.float().mean((1, 2)).numpy()
        found["object near"] = near(asked.images.masks).float().mean((1, 2)).numpy()
    return found


def _halfway(measured: Arrays) -> float:
    """Likeness when half of the layers are shuffled."""
    count = len(measured["alike"])
    return float(measured["alike"][-(-count // 2) - 1].mean())


def _area(curve: Array) -> float:
    return float(area(torch.from_numpy(curve)).mean())


def _verdict(measured: Arrays, chance: Arrays, asked: Asked) -> list[str]:
    """What a method fails; empty where it passes all that was measured."""
    failed = ["maps have one value everywhere"] if measured["flat"] else []
    if _halfway(measured) > FAILS:
        failed.append("randomisation")
    if float(measured["blind"].mean()) > BLIND:
        failed.append("blind to the image")
    if float(measured["classless"].mean()) > BLIND and not torch.equal(asked.answer, asked.second):
        failed.append("blind to the class")
    if float(measured["noise"].mean()) > _UNSTABLE:
        failed.append("noise")
    if "pointing" in measured:
        hits = int(measured["pointing"].sum())
        if wilson(hits, len(asked))[0] <= float(chance["object near"].mean()):
            failed.append("pointing")
    worse = _area(measured["insertion"]) <= _area(chance["insertion"])
    if worse and _area(measured["deletion"]) >= _area(chance["deletion"]):
        failed.append("insertion and deletion")
    return failed


def _table(
    subject: Subject,
    found: dict[Method, Arrays],
    verdicts: dict[Method, list[str]],
    chance: Arrays,
    asked: Asked,
    tested: int,
    radius: float,
) -> Table:
    masks = "object" in chance
    columns = [
        "method",
        "verdict",
        "likeness, half shuffled",
        "likeness, all shuffled",
        "likeness, other image",
        "likeness, runner-up",
    ]
    columns += ["change by noise", "insertion area", "deletion area", "completeness error"]
    columns += ["pointing", "peak on object", "mass on object", "rank on object"] if masks else []
    rows: list[list[Cell]] = []
    for method, measured in found.items():
        failed = verdicts[method]
        row: list[Cell] = [
            method.title,
            f"fails: {', '.join(failed)}" if failed else "passes",
            _halfway(measured),
            float(measured["alike"][-1].mean()),
            float(measured["blind"].mean()),
            float(measured["classless"].mean()),
            float(measured["noise"].mean()),
            _area(measured["insertion"]),
            _area(measured["deletion"]),
            float(np.median(measured["complete"])) if "complete" in measured else None,
        ]
        rows.append(
            row
            + (
                [float(measured[name].mean()) for name in ("pointing", "peak", "mass", "rank")]
                if masks
                else []
            )
        )
    random: list[Cell] = ["random order", "", *[0.0] * 4, None]
    random += [_area(chance["insertion"]), _area(chance["deletion"]), None]
    rows.append(
        random
        + (
            [float(chance[name].mean()) for name in ("object near", "object", "object", "object")]
            if masks
            else []
        )
    )
    passed = [m.title for m, failed in verdicts.items() if not failed and m is not EDGES]
    failing = [
        f"{m.title} ({', '.join(failed)})" for m, failed in verdicts.items() if failed and m is not EDGES
    ]
    caption = (
        f"On {subject.name} {', '.join(passed)} pass{'' if len(passed) > 1 else 'es'}"
        if passed
        else "No method passes"
    )
    caption += f"; {', '.join(failing)} fail{'' if len(failing) > 1 else 's'}. " if failing else ". "
    return Table(
        title="Verdicts",
        caption=caption
        + f"A method fails randomisation if its maps stay more than {FAILS} alike (rank correlation, {tested} images) when the "
        f"half of the layers nearest the answer is shuffled; it is blind if another image gives one more than {BLIND} alike for "
        f"the same question, or the runner-up one for the same image; noise, if noise of {radius:g} changes a map by more than its own "
        f"size; pointing, if its highest pixel lies within {MARGIN:.0%} of the side of the object's box no more often than a random pixel; insertion and deletion, "
        f"if neither beats a random order ({len(asked)} images). Edges and the random order look at no network.",
        columns=columns,
        rows=rows,
        formats=dict.fromkeys(columns[2:9], "{:.2f}") | dict.fromkeys(columns[9:], "{:.1%}"),
    )


def _likeness_chart(found: dict[Method, Arrays], tested: int) -> Chart:
    count = len(next(iter(found.values()))["alike"])
    half = {method: _halfway(measured) for method, measured in found.items() if method is not EDGES}
    most, least = max(half, key=half.__getitem__), min(half, key=half.__getitem__)
    return Chart(
        title="Randomisation, layer by layer",
        caption=f"With half of the layers shuffled, {most.title} stays most alike to itself ({half[most]:.2f}) and "
        f"{least.title} least ({half[least]:.2f}). Rank correlation with the map of the trained network, mean of "
        f"{tested} images; what still shows when nothing that was learnt is left was never about what was learnt.",
        lines=[
            Line(
                name=method.title,
                x=np.arange(count + 1) / count,
                y=np.concatenate([[1.0], measured["alike"].mean(1)]),
                dashed=method is EDGES,
            )
            for method, measured in found.items()
        ],
        x_label="share of the layers shuffled, from the answer down",
        y_label="likeness to the trained network's map",
        y_range=(-0.3, 1.0),
    )


def _randomised_pictures(found: dict[Method, Arrays], asked: Asked, head: str) -> Exhibit:
    """One image: the map of every method while the network forgets. Each map on a scale of its own."""
    count = len(next(iter(found.values()))["alike"])
    images: list[Array] = []
    for measured in found.values():
        images.append(asked.faces[0])
        for heat in measured["examples"]:
            limit = float(np.quantile(np.abs(heat), 0.995)) or float(np.abs(heat).max()) or 1.0
            images.append(np.clip(heat / limit, -1, 1))
    return Pictures(
        title="One image while the network forgets",
        caption=f"Image: {head}. From left to right more layers are shuffled, the last first; a map that does not "
        "change does not depend on them. Each map is divided by its own largest value.",
        images=images,
        columns=count + 2,
        column_heads=["image", "trained", *(f"{(i + 1) / count:.0%} shuffled" for i in range(count))],
        row_heads=[method.title for method in found],
        scale=Scale(low=-1, high=1, kind="diverging", label="share of the map's largest value"),
    )


def _curves(found: dict[Method, Arrays], chance: Arrays, kind: str, n: int) -> Chart:
    areas = {method: _area(measured[kind]) for method, measured in found.items() if method is not EDGES}
    best = (max if kind == "insertion" else min)(areas, key=areas.__getitem__)
    order = "put in" if kind == "insertion" else "taken away"
    x = np.linspace(0, 1, chance[kind].shape[1])
    lines = [Line(name=method.title, x=x, y=measured[kind].mean(0)) for method, measured in found.items()]
    return Chart(
        title=f"{kind.capitalize()} of pixels",
        caption=f"Pixels are {order} in the order of each map, the highest first; the rest has the image's mean colour. "
        f"{best.title} does best, area {areas[best]:.2f} against {_area(chance[kind]):.2f} for a random order. Mean of {n} images.",
        lines=[*lines, Line(name="random order", x=x, y=chance[kind].mean(0), dashed=True)],
        x_label=f"share of the pixels {order}",
        y_label="probability of the answer",
        y_range=(0.0, 1.0),
    )
