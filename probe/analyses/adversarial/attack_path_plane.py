"""Where does an attacked image lie: on its way through the embedding, and on the loss surface?"""

import numpy as np
import torch
from torch import Tensor

from probe.data.images import Images
from probe.exhibits.exhibits import Scatter, Surface
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.representation.features import penultimate_layer
from probe.model.model import Model

_WAY = 17  # points on the way of one image


def way_scatter(
    model: Model, images: Images, before: Tensor, after: Tensor, source: int, goal: int, size: int
) -> Scatter:
    """The straight way of one image to its attacked version, in the features of the last layer but one."""
    layer = penultimate_layer(model.layers).address
    points, said = [], []
    for batch in images.batches(size, model.device):
        with torch.no_grad():
            points.append(model.features(batch.pixels, layer)[layer].flatten(1))
        said.append(predict(model, batch.pixels).argmax(1))
    everyone, answered = torch.cat(points), torch.cat(said)
    share = torch.linspace(0, 1, _WAY, device=before.device).view(-1, 1, 1, 1)
    with torch.no_grad():
        way_pixels = before + share * (after - before)
        way = torch.cat([model.features(p, layer)[layer].flatten(1) for p in way_pixels.split(size)])
    turn = predict(model, way_pixels).argmax(1) != source
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
    names = [f"answered {model.classes[c]}" for c in (source, goal)] + ["the way of the image"]
    if source == goal or len(cloud) == len(everyone):
        names.insert(2, "answered otherwise")
    group = torch.where(own == source, 0, torch.where(own == goal, 1, 2)).cpu().numpy()
    at = int(turn.int().argmax()) if bool(turn.any()) else None
    finding = (
        f"after {at / (_WAY - 1):.0%} of the way the answer is no longer {model.classes[source]}"
        if at is not None
        else f"the answer stays {model.classes[source]}"
    )
    return Scatter(
        title="The way of one image through the embedding",
        caption=f"From {model.classes[source]} to {model.classes[goal]} in {layer}: {finding}. The way is {float((way[-1] - way[0]).norm()):.2f} long, "
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


def loss_surface(
    model: Model, before: Tensor, after: Tensor, noised: Tensor, label: int, grid: int
) -> Surface:
    """The loss in the plane of the attack and of noise of the same norm."""
    x, y = np.linspace(-0.5, 1.5, grid), np.linspace(-1, 1, grid)
    at = torch.cartesian_prod(torch.from_numpy(y), torch.from_numpy(x)).to(before)
    aim = Criterion(torch.full((len(at),), label, device=before.device))
    parts = []
    for some in at.split(model.batch()):
        moved = (
            before
            + some[:, 1].view(-1, 1, 1, 1) * (after - before)
            + some[:, 0].view(-1, 1, 1, 1) * (noised - before)
        )
        parts.append(predict(model, moved.clamp(0, 1)))
    logits = torch.cat(parts)
    z = aim.loss(logits).view(grid, grid).cpu().numpy()
    lost = float((logits.argmax(1) != label).float().mean())
    across = z[:, int(np.abs(x).argmin())]
    along_attack = z[int(np.abs(y).argmin())]
    return Surface(
        title="The loss between the attack and chance",
        caption=f"Log-odds against {model.classes[label]} in the plane of the attack and random signs of the same norm: from "
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
