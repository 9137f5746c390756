"""Everything that a robustness report counts for a batch of images: which attack fools which image, at which radius."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from probe.methods.adversarial.attack import Attack, AttackResult
from probe.methods.adversarial.blackbox import Noise, OnePixel, SquareAttack
from probe.methods.adversarial.criteria import Criterion, make_criterion, predict
from probe.methods.adversarial.evaluate import Evaluation, evaluate
from probe.methods.adversarial.gradient_attacks import FGSM, PGD, Ray, ray
from probe.methods.adversarial.min_radius import Bracket, PGDRadiusSearch, min_radius_on_ray
from probe.methods.adversarial.minimal_attacks import CarliniWagner, DeepFool
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.quantisation import quantise_in_ball, through_jpeg, through_png
from probe.model.model import Model

ATTACKS = ("noise", "FGSM", "PGD", "square")
"""The attacks that are let loose at every radius."""

SEARCHES = ("PGD", "square")
"""Those that climb: an image that stands a radius is not tried at smaller ones, which it contains."""

FILES = ("floats", "PNG, inside the ball", "PNG, rounded", "JPEG 95", "JPEG 75", "JPEG 50")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Budget:
    """How hard the attacks try. eps: Linf radii, rising. seed: of all random numbers, with the images' names."""

    eps: tuple[float, ...]
    steps: int
    restarts: int
    queries: int
    seed: int


def attack_curves(model: Model, pixels: Tensor, labels: Tensor, index: Tensor, effort: Budget) -> Arrays:
    """Every attack of LADDER at every radius, and the least radii: tables with one row an image.

    fooled: (n, attacks, radii). void: (n,) whether an attack came back with nothing that can be judged.
    answer, chance, first, queries: (n, attacks) at the largest radius. fgsm_least, least: (n,) least Linf radii, along
    the ray of FGSM and of all attacks. margin: (n,) logit of the class minus the best other.
    The attacks that search begin at the largest radius, and go on at smaller ones with those that fell.
    """
    aim = make_criterion(model, pixels, labels)
    along = ray(model, pixels, aim)
    attacks: tuple[Attack, ...] = (
        Noise(),
        FGSM(),
        PGD(steps=effort.steps, restarts=effort.restarts),
        SquareAttack(queries=effort.queries),
    )
    hits = np.zeros((len(pixels), len(ATTACKS), len(effort.eps)), dtype=bool)
    void = np.zeros(len(pixels), dtype=bool)
    last: list[Evaluation] = []
    for a, (attack, declared) in enumerate(zip(ATTACKS, attacks, strict=True)):
        rows = torch.arange(len(pixels))
        for e, eps in reversed(list(enumerate(effort.eps))):
            if not len(rows):
                break
            at = rows.to(pixels.device)
            outcome = evaluate(
                model,
                pixels[at],
                labels[at],
                declared.with_defaults(eps=eps),
                seed=effort.seed,
                ids=index[rows],
            )
            hits[rows, a, e], void[rows] = outcome.fooled.numpy(), void[rows] | outcome.invalid.numpy()
            if e == len(effort.eps) - 1:
                last.append(outcome)
            if attack in SEARCHES:
                rows = rows[outcome.fooled]
    found = last[ATTACKS.index("PGD")]
    fgsm_least, least = _least(model, pixels, along, aim, found, hits, index, effort)
    files, change, alone = _filed(model, pixels, found.pixels, effort.eps[-1])
    other = along.logits.scatter(1, aim.labels[:, None], -torch.inf).amax(1)
    return {
        "index": index.numpy(),
        "label": labels.cpu().numpy(),
        "right": found.correct.numpy(),
        "clean": found.clean_prediction.numpy(),
        "clean_chance": found.clean_confidence.numpy(),
        "margin": (along.logits.gather(1, aim.labels[:, None])[:, 0] - other).cpu().numpy(),
        "fooled": hits,
        "void": void,
        **{
            name: np.stack([getattr(o, column).numpy() for o in last], 1)
            for name, column in (
                ("answer", "prediction"),
                ("chance", "confidence"),
                ("first", "success_step"),
                ("queries", "queries"),
                ("linf", "linf"),
            )
        },
        "least": least.cpu().numpy(),
        "fgsm_least": fgsm_least.cpu().numpy(),
        "filed": files,
        "filed_change": change,
        "filed_alone": alone,
    }


def _least(
    model: Model, pixels: Tensor, along: Ray, aim: Criterion, found: Evaluation, hits: np.ndarray, index: Tensor, effort: Budget
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The least radii along the ray, and by bisection between where PGD failed and the least that is known to fool."""
    one_step = min_radius_on_ray(model, along, aim)
    radii = np.r_[0, effort.eps]
    # Of each image the largest radius at which PGD failed, and the least change known to fool.
    stood = np.where(hits[:, ATTACKS.index("PGD")], 0, radii[1:]).max(1)
    low = torch.from_numpy(stood).to(one_step)
    below = np.where(hits.any(1), radii[1:], np.inf).min(1)
    high = torch.minimum(one_step, torch.from_numpy(below).to(one_step))
    high = torch.where(found.fooled.to(high.device), torch.minimum(high, found.linf.to(high)), high)
    nearest = evaluate(
        model, pixels, aim.labels, DeepFool(norm="linf", candidates=4), ids=index
    )  # fmt: skip
    high = torch.where(nearest.fooled.to(high.device), torch.minimum(high, nearest.linf.to(high)), high)
    search = PGDRadiusSearch(PGD(eps=1.0, steps=max(5, effort.steps // 2)), rounds=5)
    least = search(model, pixels, aim.labels, bracket=Bracket(low, high), seed=effort.seed, ids=index)
    return one_step, least


def _filed(
    model: Model, pixels: Tensor, moved: Tensor, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The answers after each way of FILES, the largest change in grey levels, and the answers to the images
    themselves after it: (n, ways).
    """
    ways = [
        moved,
        through_png(quantise_in_ball(pixels, moved, eps)),
        through_png(moved),
        *(through_jpeg(moved, quality) for quality in (95, 75, 50)),
    ]
    change = [((way - pixels) * 255).abs().flatten(1).amax(1).cpu().numpy() for way in ways]
    alone = [pixels, *[through_png(pixels)] * 2, *(through_jpeg(pixels, quality) for quality in (95, 75, 50))]
    said, unharmed = ([predict(model, way).argmax(1).cpu().numpy() for way in some] for some in (ways, alone))
    return np.stack(said, 1), np.stack(change, 1), np.stack(unharmed, 1)


def minimal_perturbations(
    model: Model, pixels: Tensor, labels: Tensor, index: Tensor, *, queries: int, seed: int
) -> Arrays:
    """The least L2 change that three attacks find, inf where none: (n,) each, 0 for what is wrong as it stands.

    fgsm_l2, deepfool_l2, carlini_l2. one_pixel: (n,) bool, whether one pixel of any colour is enough.
    queries: answers that the search for that pixel may ask for.
    """
    aim = Criterion(labels)
    found = {
        "fgsm_l2": min_radius_on_ray(
            model, ray(model, pixels, aim, norm="l2"), aim, eps=20.0, grid=24, tolerance=1e-3
        )
    }
    near = evaluate(model, pixels, labels, DeepFool(), ids=index)
    place = {name: row for row, name in enumerate(index.tolist())}

    def from_there(model: Model, x: Tensor, criterion: Criterion, rng: PerImageRng) -> AttackResult:
        start = near.pixels[torch.tensor([place[k] for k in rng.ids.tolist()], device=x.device)]
        return CarliniWagner(rounds=2).refine(model, x, criterion, start)

    population = min(40, queries)
    nearest = evaluate(model, pixels, labels, from_there, ids=index)
    for name, outcome in (("deepfool_l2", near), ("carlini_l2", nearest)):
        reach = torch.where(outcome.fooled, outcome.l2, torch.inf)
        found[name] = torch.where(outcome.correct, reach, 0)
    one_pixel = OnePixel(population=population, generations=queries // population - 1)
    pixel = evaluate(model, pixels, labels, one_pixel, seed=seed, ids=index)
    found["one_pixel"] = pixel.fooled
    return {name: values.cpu().numpy() for name, values in found.items()}


def targeted_success(
    model: Model,
    pixels: Tensor,
    labels: Tensor,
    index: Tensor,
    target: int,
    *,
    eps: float,
    steps: int,
    seed: int,
) -> Arrays:
    """Which images PGD leads to the class `target`: label and success of those that are not of it already."""
    rows = (labels != target).nonzero()[:, 0]
    if not len(rows):
        return {"label": np.zeros(0, dtype=np.int64), "success": np.zeros(0, dtype=bool)}
    outcome = evaluate(
        model,
        pixels[rows],
        labels[rows],
        PGD(eps=eps, steps=steps),
        targets=target,
        seed=seed,
        ids=index[rows.cpu()],
    )
    right = outcome.correct.numpy()
    return {"label": labels[rows].cpu().numpy()[right], "success": outcome.fooled.numpy()[right]}
