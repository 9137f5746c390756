"""What does an attack change on its way from the pixels to the answer?"""

import numpy as np
import torch
from pydantic import Field
from scipy.stats import spearmanr
from torch import Tensor

from probe.analyses.analysis import Analysis, Job
from probe.analyses.fgsm import OWN_ANSWERS, own_labels, short
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Chart, Exhibit, Line, Pictures, Scale, Scatter, Surface
from probe.exhibits.result import Number, Result
from probe.methods.attacks import pgd
from probe.methods.blackbox import noisy
from probe.methods.explainers import METHODS, Settings, chosen, flat
from probe.methods.features import last_features
from probe.methods.goals import Goal, answers
from probe.methods.judging import Outcome, doubts, joined, judge
from probe.methods.masking import SAMPLE, signs, warned
from probe.methods.tracing import along, class_means, movement, spectrum, turned
from probe.params import Fraction, Names
from probe.subject.subject import Subject

_WAY = 17  # points on the way of one image


class AttackPath(Analysis):
    """What does an attack change on its way from the pixels to the answer?"""

    name = "attack-path"
    title = "Anatomy of an attack"
    source = "Szegedy et al. 2014, arXiv 1312.6199; Goodfellow et al. 2015, arXiv 1412.6572; Yin et al. 2019, arXiv 1906.08988"
    needs_images = 2

    eps: Fraction = Field(8 / 255, gt=0, le=1, description="largest change of a pixel, of [0, 1]")
    steps: int = Field(20, ge=1, le=1000, description="gradient steps of PGD")
    at_most: int = Field(64, ge=2, le=10_000, description="images to attack; drawn evenly over the classes")
    layers: Names = Field((), description="addresses to follow (default: up to twelve, from first to last)")
    method: str = Field("integrated_gradients", description="attribution to compare: " + ", ".join(METHODS))
    examples: int = Field(3, ge=1, le=20, description="images whose attribution is shown")
    grid: int = Field(21, ge=5, le=101, description="points along each side of the loss surface")

    def run(self, subject: Subject, images: Images, job: Job) -> Result:
        (method,) = chosen([self.method])
        addresses = [subject.layers.find(a).address for a in self.layers] or along(subject.layers, 12)
        seed = int(torch.randint(2**31, (1,), generator=job.rng))
        images = images.take(self.at_most, seed=seed)
        size = subject.batch(gradient=True)
        pixels, labels = images.pixels(subject.device), own_labels(subject, images).to(subject.device)
        checks = signs(subject, pixels[:SAMPLE], labels[:SAMPLE])
        outcomes, total = [], -(-len(images) // size)
        for rows in job.progress(torch.arange(len(images)).split(size), "attacking", total):
            outcomes.append(self._attacked(subject, pixels[rows], labels[rows], rows, seed))
        outcome = joined(outcomes, pixels=True)
        warnings = [OWN_ANSWERS] if images.labels is None else []
        warnings += doubts(outcome.void) + warned(checks)
        rows = outcome.fooled.nonzero()[:, 0]
        if not len(rows):
            warnings.append(
                f"No image is fooled at eps {short(self.eps)}: what is shown is the attempt. Try a larger eps."
            )
            rows = outcome.right.nonzero()[:, 0]
        if not len(rows):
            raise UserError(
                f"{subject.name} answers none of {len(images)} images rightly: there is nothing to attack"
            )
        before, after = pixels[rows], outcome.pixels[rows]
        noised = noisy(before, (after - before).flatten(1).norm(dim=1), seed=seed, index=rows)
        source, goal = (o[rows].to(subject.device) for o in (outcome.clean, outcome.answer))
        means, count = class_means(subject, images.batches(size, subject.device), addresses)
        exhibits: list[Exhibit] = [
            _layers_chart(subject, addresses, before, after, noised, size),
            *_turning(subject, after, source, goal, means, count, addresses),
        ]
        likeness, picture = self._attribution(
            subject, method.name, before, after, source, goal, outcome, rows
        )
        exhibits += [picture, _spectrum(before, after, noised, self.eps)]
        try:
            exhibits.append(_way(subject, images, before[:1], after[:1], int(source[0]), int(goal[0]), size))
        except UserError as error:
            warnings.append(f"The way through the embedding is not shown: {error}.")
        exhibits.append(self._surface(subject, before[0], after[0], noised[0], int(source[0])))
        numbers = {
            "fooled": Number(value=outcome.success, n=int(outcome.right.sum()), format="{:.1%}"),
            "likeness of attribution": Number(
                value=likeness, n=min(self.examples, len(rows)), format="{:.2f}"
            ),
        }
        return Result(exhibits=exhibits, numbers=numbers, warnings=warnings)

    def _attacked(self, subject: Subject, pixels: Tensor, labels: Tensor, rows: Tensor, seed: int) -> Outcome:
        def attack(x: Tensor, y: Tensor, _: Tensor | None, i: Tensor):
            return pgd(subject, x, y, eps=self.eps, steps=self.steps, seed=seed, index=i)

        return judge(subject, pixels, labels, attack, index=rows, eps=self.eps)

    def _attribution(
        self, subject: Subject, name: str, before: Tensor, after: Tensor, source: Tensor, goal: Tensor,
        outcome: Outcome, rows: Tensor,
    ) -> tuple[float, Pictures]:  # fmt: skip
        n = min(self.examples, len(rows))
        method, settings = METHODS[name], Settings()
        maps = [
            flat(method.picture(subject, p[:n], own[:n], settings), method.kind).detach().cpu().numpy()
            for p, own in ((before, source), (after, goal), (after, source))
        ]
        alike = [[_rank(maps[0][k], other[k]) for k in range(n)] for other in maps[1:]]
        images, labels = [], []
        for k in range(n):
            # One scale an image, so that before and after may be compared; the colours are those of the exhibit.
            reach = max(float(np.abs(m[k]).max()) for m in maps) or 1.0
            images += [
                _picture(before[k]),
                maps[0][k] / reach,
                _picture(after[k]),
                maps[1][k] / reach,
                maps[2][k] / reach,
            ]
            old, new = subject.classes[int(source[k])], subject.classes[int(goal[k])]
            row = int(rows[k])
            labels += [
                f"{old} ({float(outcome.clean_chance[row]):.1%})", f"for {old}", f"{new} ({float(outcome.chance[row]):.1%})",
                f"for {new}, {alike[0][k]:.2f}", f"for {old}, {alike[1][k]:.2f}",
            ]  # fmt: skip
        kind = "diverging" if method.kind == "signed" else "sequential"
        mean = float(np.mean(alike[0]))
        return mean, Pictures(
            title="What the answer hangs on, before and after",
            caption=f"{method.title} of {n} attacked images. The rank correlation of the map for the new answer with that for the old "
            f"one is {mean:.2f}; for the old class on the attacked image it is {float(np.mean(alike[1])):.2f}. One scale an image.",
            images=images,
            labels=labels,
            columns=5,
            column_heads=["image", "before", "attacked", "new answer", "old class"],
            scale=Scale(
                low=-1 if kind == "diverging" else 0, high=1, kind=kind, label="of the largest value"
            ),
        )

    def _surface(
        self, subject: Subject, before: Tensor, after: Tensor, noised: Tensor, label: int
    ) -> Surface:
        x, y = np.linspace(-0.5, 1.5, self.grid), np.linspace(-1, 1, self.grid)
        at = torch.cartesian_prod(torch.from_numpy(y), torch.from_numpy(x)).to(before)
        aim = Goal(torch.full((len(at),), label, device=before.device))
        parts = []
        for some in at.split(subject.batch()):
            moved = (
                before
                + some[:, 1].view(-1, 1, 1, 1) * (after - before)
                + some[:, 0].view(-1, 1, 1, 1) * (noised - before)
            )
            parts.append(answers(subject, moved.clamp(0, 1)))
        logits = torch.cat(parts)
        z = aim.loss(logits).view(self.grid, self.grid).cpu().numpy()
        lost = float((logits.argmax(1) != label).float().mean())
        across = z[:, int(np.abs(x).argmin())]
        along_attack = z[int(np.abs(y).argmin())]
        return Surface(
            title="The loss between the attack and chance",
            caption=f"Log-odds against {subject.classes[label]} in the plane of the attack and random signs of the same norm: from "
            f"{along_attack[int(np.abs(x).argmin())]:.1f} to {along_attack[int(np.abs(x - 1).argmin())]:.1f} along the attack, between "
            f"{across.min():.1f} and {across.max():.1f} along the noise. {lost:.0%} of the plane is answered otherwise.",
            x=x.astype(np.float32),
            y=y.astype(np.float32),
            z=z.astype(np.float32),
            x_label="share of the attack",
            y_label="share of the noise",
            z_label="log-odds against the class",
            path=np.array([[0, 0], [1, 0]], dtype=np.float32),
        )


def _picture(pixels: Tensor) -> np.ndarray:
    return pixels.permute(1, 2, 0).cpu().numpy()


def _rank(a: np.ndarray, b: np.ndarray) -> float:
    return float(spearmanr(a.ravel(), b.ravel()).statistic) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0


def _layers_chart(
    subject: Subject, addresses: list[str], before: Tensor, after: Tensor, noised: Tensor, size: int
) -> Chart:
    """How far each layer moves: under the attack, and under noise of the same size."""
    moved: dict[str, dict[str, list[Tensor]]] = {"attack": {}, "noise": {}}
    for part in torch.arange(len(before)).split(size):
        for name, other in (("attack", after), ("noise", noised)):
            for address, found in movement(subject, before[part], other[part], addresses).items():
                moved[name].setdefault(address, []).append(torch.stack([found.distance, found.cosine]))
    x, lines, middle = np.arange(len(addresses), dtype=float), [], {}
    for k, what in enumerate(("relative distance", "cosine")):
        for name, by_layer in moved.items():
            values = np.stack([torch.cat(by_layer[a], 1)[k].cpu().numpy() for a in addresses])
            low, mid, high = np.quantile(values, (0.25, 0.5, 0.75), axis=1)
            middle[name, what] = mid
            lines.append(Line(name=f"{what}, {name}", x=x, y=mid, low=low, high=high, dashed=name == "noise"))
    attack, chance = (middle[name, "relative distance"] for name in ("attack", "noise"))
    return Chart(
        title="How far each layer moves",
        caption=f"The attack moves {addresses[0]} by {attack[0]:.0%} of its length and {addresses[-1]} by {attack[-1]:.0%}, where noise "
        f"of the same L2 norm moves them by {chance[0]:.0%} and {chance[-1]:.0%}; the cosine of the last is "
        f"{middle['attack', 'cosine'][-1]:.2f}. Medians and quartiles of {len(before)} images.",
        lines=lines,
        x_label="layer",
        y_label="relative L2 distance, cosine",
        ticks=addresses,
    )


def _turning(
    subject: Subject, after: Tensor, source: Tensor, goal: Tensor, means: dict[str, Tensor], count: Tensor, addresses: list[str],
) -> list[Exhibit]:  # fmt: skip
    """At which layer are attacked images nearer to those of the new class than of the old one?"""
    known = ((source != goal) & (count[goal] > 0)).nonzero()[:, 0]
    if not len(known):
        return []
    shares = []
    parts = [turned(subject, after[p], source[p], goal[p], means) for p in known.split(subject.batch())]
    for address in addresses:
        shares.append(float(torch.cat([part[address] for part in parts]).float().mean()))
    most = next((k for k, share in enumerate(shares) if share >= 0.5), None)
    finding = (
        f"In {addresses[most]} for the first time most attacked images ({shares[most]:.0%}) are nearer to the mean of the new class "
        if most is not None
        else f"In no layer are most attacked images nearer to the mean of the new class (at most {max(shares):.0%}) "
    )
    return [
        Chart(
            title="Where the answer turns",
            caption=finding + f"than to that of the old one; in {addresses[0]} it is {shares[0]:.0%}, in {addresses[-1]} {shares[-1]:.0%} "
            f"of {len(known)}.",
            lines=[Line(name="nearer to the new class", x=np.arange(len(shares), dtype=float), y=np.array(shares))],
            x_label="layer",
            y_label="share of the attacked images",
            y_range=(0, 1),
            ticks=addresses,
        )
    ]  # fmt: skip


def _spectrum(before: Tensor, after: Tensor, noised: Tensor, eps: float) -> Chart:
    """Is the change coarse or fine?"""
    lines, high = [], {}
    for name, picture, dashed in (
        ("change by the attack", after - before, False),
        ("noise of the same norm", noised - before, True),
        ("the images", before, False),
    ):
        frequency, shares = spectrum(picture)
        high[name] = float(shares[frequency > 0.25].sum())
        lines.append(Line(name=name, x=frequency, y=shares, dashed=dashed))
    values = list(high.values())
    return Chart(
        title="How fine the change is",
        caption=f"Above half of the highest frequency lie {values[0]:.0%} of the energy of the change, {values[1]:.0%} of the noise's and "
        f"{values[2]:.0%} of the images' ({len(before)} images at eps {short(eps)}).",
        lines=lines,
        x_label="spatial frequency, cycles a pixel (the last point: 0.5 and above)",
        y_label="share of the energy",
    )


def _way(
    subject: Subject, images: Images, before: Tensor, after: Tensor, source: int, goal: int, size: int
) -> Scatter:
    """The straight way of one image to its attacked version, in the features of the last layer but one."""
    layer = last_features(subject.layers).address
    points, said = [], []
    for batch in images.batches(size, subject.device):
        with torch.no_grad():
            points.append(subject.features(batch.pixels, layer)[layer].flatten(1))
        said.append(answers(subject, batch.pixels).argmax(1))
    everyone, answered = torch.cat(points), torch.cat(said)
    share = torch.linspace(0, 1, _WAY, device=before.device).view(-1, 1, 1, 1)
    with torch.no_grad():
        way_pixels = before + share * (after - before)
        way = torch.cat([subject.features(p, layer)[layer].flatten(1) for p in way_pixels.split(size)])
    turn = answers(subject, way_pixels).argmax(1) != source
    kept = (answered == source) | (answered == goal)
    cloud, own = (everyone[kept], answered[kept]) if int(kept.sum()) >= 3 else (everyone, answered)
    # The plane of the way itself and of the widest spread of the two classes across it.
    middle = cloud.mean(0)
    first = way[-1] - way[0]
    first = first / first.norm().clamp_min(1e-12)
    rest = torch.cat([cloud, way]) - middle
    rest = rest - (rest @ first)[:, None] * first
    second = torch.linalg.svd(rest, full_matrices=False).Vh[0]
    second = second * second[second.abs().argmax()].sign()
    xy = torch.stack([(torch.cat([cloud, way]) - middle) @ axis for axis in (first, second)], 1).cpu().numpy()
    names = [f"answered {subject.classes[c]}" for c in (source, goal)] + ["the way of the image"]
    if source == goal or len(cloud) == len(everyone):
        names.insert(2, "answered otherwise")
    group = torch.where(own == source, 0, torch.where(own == goal, 1, 2)).cpu().numpy()
    at = int(turn.int().argmax()) if bool(turn.any()) else None
    finding = (
        f"after {at / (_WAY - 1):.0%} of the way the answer is no longer {subject.classes[source]}"
        if at is not None
        else f"the answer stays {subject.classes[source]}"
    )
    return Scatter(
        title="The way of one image through the embedding",
        caption=f"From {subject.classes[source]} to {subject.classes[goal]} in {layer}: {finding}. The way is {float((way[-1] - way[0]).norm()):.2f} long, "
        f"the spread of the {len(cloud)} images across it {float(rest[: len(cloud)].norm(dim=1).mean()):.2f} on average.",
        x=xy[:, 0].astype(np.float32),
        y=xy[:, 1].astype(np.float32),
        group=np.r_[group, np.full(_WAY, len(names) - 1)].astype(np.int64),
        group_names=names,
        point_names=["" for _ in range(len(cloud))]
        + [f"{k / (_WAY - 1):.0%} of the way" for k in range(_WAY)],
        x_label="along the way",
        y_label="across it",
    )
