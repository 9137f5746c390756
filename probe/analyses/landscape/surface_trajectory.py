"""The loss along a training trajectory, beside that of its projection on the plane."""

import copy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from probe.analyses.job import Arrays, Job, joined
from probe.analyses.landscape.loaded_images import LoadedImages
from probe.analyses.landscape.surface_arithmetic import working_copy
from probe.analyses.landscape.surface_directions import read_trajectory
from probe.analyses.landscape.surface_plane import Plane
from probe.data.images import Images
from probe.exhibits.exhibits import Chart, Line
from probe.exhibits.wording import counted, sentences
from probe.methods.landscape.directions import Weights, movable_weights
from probe.methods.landscape.loss_surface import LossSurface
from probe.methods.landscape.perturbation import WeightPlane
from probe.model.model import Model


def trajectory_chart(model: Model, images: Images, plane: Plane, path: Path, job: Job) -> Chart:
    """The loss of each checkpoint, and of the nearest point to it on the plane (or line)."""
    names, points = read_trajectory(path, model)
    network = working_copy(model)
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    loaded = LoadedImages.of(model, images, dtype=dtype)
    mover = WeightPlane(network, plane.directions)
    surface = LossSurface(mover, loaded.inputs, loaded.labels, logits=loaded.logits)
    own = copy.deepcopy(network)

    def compute(index: int, rng: torch.Generator) -> Arrays:
        still = LossSurface(
            WeightPlane(_set(own, points[index]), []), loaded.inputs, loaded.labels, logits=loaded.logits
        )
        true = float(still.at(()).losses.mean())
        coordinates = (0.0,) * mover.dimensions if plane.path is None else plane.path[index].tolist()
        return {
            "loss": np.array([true]),
            "projected": np.array([float(surface.at(coordinates).losses.mean())]),
        }

    result = joined(job.chunks("checkpoints of the trajectory", range(len(points)), compute))
    x = np.arange(len(points), dtype=np.float32)
    lines = [Line(name="checkpoint", x=x, y=_finite(result["loss"]))]
    if plane.path is not None:
        lines.append(
            Line(name="its projection on the plane", x=x, y=_finite(result["projected"]), dashed=True)
        )
    gaps = np.abs(result["projected"] - result["loss"])
    worst = int(np.nanargmax(np.where(np.isfinite(gaps), gaps, -1)))
    both = (float(result["projected"][worst]), float(result["loss"][worst]))
    return Chart(
        title="Loss along the trajectory",
        caption=sentences(
            f"From {names[0]} to {names[-1]} the loss goes from {result['loss'][0]:.3g} to {result['loss'][-1]:.3g}.",
            plane.path is not None
            and f"The surface under the path differs most at {names[worst]}: {both[0]:.3g} on the plane, {both[1]:.3g} at the "
            "checkpoint itself, which lies beside it.",
            f"{counted(len(images))}; {counted(len(points), 'checkpoint')}.",
        ),
        facts={
            "first": float(result["loss"][0]),
            "last": float(result["loss"][-1]),
            "projected": both[0],
            "true": both[1],
            "images": float(len(images)),
            "checkpoints": float(len(points)),
        },
        lines=lines,
        x_label="checkpoint",
        y_label="cross-entropy",
        ticks=names if len(names) <= 40 else [],
    )


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan).astype(np.float32)


@torch.no_grad()
def _set(network: nn.Module, weights: Weights) -> nn.Module:
    """`network` with these weights and running statistics, in place."""
    own: dict[str, Tensor] = movable_weights(network, statistics=True)
    for name, value in own.items():
        value.copy_(weights[name])
    return network
