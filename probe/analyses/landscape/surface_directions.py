"""Make the plane of a surface: random directions, checkpoints, a trajectory, eigenvectors, a file, or adversarial inputs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from probe.analyses.landscape.loaded_images import LoadedImages
from probe.analyses.landscape.surface_plane import Plane, covering, default_range, with_ranges
from probe.data.images import Images
from probe.errors import UserError
from probe.methods.landscape.directions import (
    Direction,
    Normalisation,
    Weights,
    cosine,
    count_zero_filters,
    difference,
    movable_weights,
    norm,
    principal_components,
    random_direction,
)
from probe.methods.landscape.hessian import Hessian
from probe.methods.landscape.lanczos import lanczos, random_start
from probe.methods.landscape.loss_surface import cross_entropy
from probe.model.checkpoints import read_state
from probe.model.loading import load
from probe.model.model import Model

Kind = Literal["random", "hessian", "adversarial"]

POINTS = 25
_HESSIAN_IMAGES, _HESSIAN_STEPS = 100, 30
_RISE = 5.0  # of the quadratic approximation of the loss at the ends of an eigenvector's range
_SUFFIXES = (".safetensors", ".pt", ".pth", ".th")


@dataclass(frozen=True)
class DirectionOptions:
    """What determines the directions of a surface, as the fields of the analysis say it.

    statistics: whether running statistics of batch norm move too. eps: of adversarial directions.
    """

    kind: Kind
    dimensions: int
    normalisation: Normalisation
    move_1d: bool
    statistics: bool
    x: str
    y: str
    seed: int
    eps: float
    towards: tuple[str, ...]
    trajectory: Path | None
    direction_file: Path | None


def make_plane(model: Model, images: Images, options: DirectionOptions) -> Plane:
    """The directions and coordinates of a surface; UserError where the model has no such plane."""
    if options.towards:
        plane = _towards(model, options)
    elif options.trajectory is not None:
        plane = _trajectory(model, options)
    elif options.direction_file is not None:
        plane = _from_file(model, options)
    elif options.kind == "hessian":
        plane = _eigenvectors(model, images, options)
    elif options.kind == "adversarial":
        plane = _adversarial(model, images, options)
    else:
        plane = _random(model, options)
    return with_ranges(plane, options.x, options.y)


def read_trajectory(path: Path, model: Model) -> tuple[list[str], list[Weights]]:
    """The names and weights of the checkpoints in a folder, in the order of their names, and at last those of the model.

    A folder that holds `epochs/` stands for that. Raises UserError for a folder without checkpoints, and for weights that
    are not those of the model's architecture.
    """
    folder = path / "epochs" if (path / "epochs").is_dir() else path
    if not folder.is_dir():
        raise UserError(
            f"there is no folder {path}: `probe train --save-epochs` writes the weights of every epoch"
        )
    files = sorted(file for file in folder.iterdir() if file.suffix in _SUFFIXES)
    if not files:
        raise UserError(
            f"{folder} contains no checkpoints ({', '.join(_SUFFIXES)}): `probe train --save-epochs` writes them"
        )
    own = movable_weights(model.network, statistics=True)
    weights = [_matching(read_state(file), own, str(file)) for file in files]
    names = [file.stem for file in files]
    if any(not torch.equal(weights[-1][name], w.cpu()) for name, w in own.items()):
        names.append(model.name)
        weights.append({name: w.cpu().clone() for name, w in own.items()})
    if len(weights) < 2:
        raise UserError(f"the trajectory in {folder} has one point: it needs at least two")
    return names, weights


def _random(model: Model, options: DirectionOptions) -> Plane:
    weights = movable_weights(model.network, statistics=options.statistics)
    if not any(w.ndim > 1 for w in weights.values()):
        raise UserError(
            f"{model.name} has no weights of two or more dimensions: there is no direction to move in"
        )
    if options.statistics and not options.move_1d:
        raise UserError(
            "batch_norm 'moved' moves running statistics, which have one dimension: set move_1d too, or take the directions "
            "between checkpoints"
        )
    rng = torch.Generator().manual_seed(options.seed)
    directions = tuple(
        random_direction(weights, rng, normalisation=options.normalisation, move_1d=options.move_1d)
        for _ in range(options.dimensions)
    )
    zero = count_zero_filters(weights) if options.normalisation in ("filter", "weight") else 0
    facts = {"zero_filters": float(zero), "seed": float(options.seed)}
    if options.dimensions == 2:
        facts["cosine"] = cosine(*directions)
    scale = {
        "filter": "each filter scaled to the norm of its weights",
        "layer": "each layer scaled to the norm of its weights",
        "weight": "each value multiplied by its weight",
        "none": "not scaled",
    }[options.normalisation]
    plural = options.dimensions == 2
    note = (
        f"{'Both axes are' if plural else 'The axis is a'} Gaussian direction{'s' if plural else ''}, {scale}; biases and "
        f"batch norm {'move too' if options.move_1d else 'stay'}."
    )
    stay = (
        f"{zero} filter{'s' if zero != 1 else ''} of norm 0 do{'' if zero != 1 else 'es'} not move."
        if zero
        else ""
    )
    return _plane(
        directions,
        labels=("first random direction", "second random direction"),
        facts=facts,
        notes=(note, stay),
    )


def _towards(model: Model, options: DirectionOptions) -> Plane:
    if len(options.towards) > 2:
        raise UserError(f"towards takes one or two checkpoints, got {len(options.towards)}")
    own = movable_weights(model.network, statistics=options.statistics)
    targets = [_target(spec, model, own) for spec in options.towards]
    directions = tuple(difference(own, target) for target in targets)
    names = [Path(spec).stem or spec for spec in options.towards]
    for spec, direction in zip(options.towards, directions, strict=True):
        if norm(direction) == 0:
            raise UserError(
                f"{spec} has the same weights as {model.name}: there is no direction from one to the other"
            )
    facts = {f"distance_{i + 1}": norm(d) for i, d in enumerate(directions)}
    if len(directions) == 2:
        facts["cosine"] = cosine(*directions)
        if abs(facts["cosine"]) > 1 - 1e-6:
            raise UserError(
                f"{options.towards[0]} and {options.towards[1]} lie on one line with {model.name}: choose one of them"
            )
    note = (
        f"At 0 are the weights of {model.name}, at 1 those of {' and '.join(names)}; all parameters move"
        f"{', and the running statistics of batch norm' if options.statistics else '; running statistics of batch norm stay'}."
    )
    plane = _plane(
        directions,
        labels=(f"towards {names[0]}", f"towards {names[-1]}"),
        facts=facts,
        notes=(note,),
        low=-0.5,
        high=1.5,
    )
    return plane


def _trajectory(model: Model, options: DirectionOptions) -> Plane:
    assert options.trajectory is not None
    names, points = read_trajectory(options.trajectory, model)
    own = movable_weights(model.network, statistics=options.statistics)
    moving = [{name: point[name].to(model.device) for name in own} for point in points]
    try:
        components = principal_components(moving)
    except ValueError as error:
        raise UserError(f"the trajectory in {options.trajectory}: {error}") from None
    coordinates = components.coordinates.numpy()
    distances = np.sqrt((coordinates**2).sum(1) + components.off_plane.numpy() ** 2)
    facts = {
        "variance_1": components.variance[0],
        "variance_2": components.variance[1],
        "off_plane": float(components.off_plane.max()),
        "farthest": float(distances.max()),
        "points": float(len(points)),
    }
    note = (
        f"The axes are the principal components of the {len(points)} checkpoints from {names[0]} to {names[-1]} and keep "
        f"{components.variance[0]:.1%} and {components.variance[1]:.1%} of the squared distances from the last; the checkpoints lie up "
        f"to {facts['off_plane']:.3g} off the plane, of a distance of up to {facts['farthest']:.3g}."
    )
    flat = components.variance[1] == 0
    return Plane(
        directions=components.directions[:1] if flat else components.directions,
        x=covering(coordinates[:, 0].tolist(), POINTS),
        y=np.zeros(1) if flat else covering(coordinates[:, 1].tolist(), POINTS),
        labels=(
            f"first component ({components.variance[0]:.1%})",
            f"second component ({components.variance[1]:.1%})",
        ),
        path=None if flat else coordinates,
        facts=facts,
        notes=(note,),
    )


def _from_file(model: Model, options: DirectionOptions) -> Plane:
    assert options.direction_file is not None
    state = read_state(options.direction_file)
    own = movable_weights(model.network, statistics=options.statistics)
    directions = []
    for axis in ("x", "y"):
        direction: Direction = {}
        for name, value in state.items():
            if not name.startswith(f"{axis}."):
                continue
            weight = own.get(name[2:])
            if weight is None:
                raise UserError(f"{options.direction_file}: {name} is not a weight of {model.name}")
            if weight.shape != value.shape:
                raise UserError(
                    f"{options.direction_file}: {name} has the shape {tuple(value.shape)}, the weight {tuple(weight.shape)}"
                )
            direction[name[2:]] = value.to(weight.device, weight.dtype)
        if direction:
            directions.append(direction)
    if not directions:
        raise UserError(
            f"{options.direction_file} contains no directions: its tensors must be named x.WEIGHT and y.WEIGHT, as in x.conv1.weight"
        )
    return _plane(
        tuple(directions),
        labels=("x of the file", "y of the file"),
        facts={f"norm_{i + 1}": norm(d) for i, d in enumerate(directions)},
        notes=(f"Directions are read from {options.direction_file.name}.",),
    )


def _eigenvectors(model: Model, images: Images, options: DirectionOptions) -> Plane:
    few = images.take(_HESSIAN_IMAGES, seed=options.seed)
    network = model.network
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    loaded = LoadedImages.of(model, few, dtype=dtype, gradient=True)
    hessian = Hessian(network, loaded.inputs, loaded.labels, logits=loaded.logits)
    start = random_start(hessian.size, torch.Generator().manual_seed(options.seed), device=model.device).to(
        dtype
    )
    ritz = lanczos(hessian.matvec, start, _HESSIAN_STEPS, vectors=True)
    if ritz.vectors is None or not ritz.values[0] > 0:
        raise UserError(f"the Hessian of {model.name} has no positive eigenvalue on these images")
    count = min(options.dimensions, len(ritz.values))
    directions = tuple(hessian.direction(ritz.vectors[i].clone()) for i in range(count))
    values = [max(float(v), 1e-12) for v in ritz.values[:count]]
    radii = [(2 * _RISE / value) ** 0.5 for value in values]
    axes = [default_range(-r, r, POINTS) for r in radii]
    facts = {f"eigenvalue_{i + 1}": value for i, value in enumerate(values)}
    return Plane(
        directions=directions,
        x=axes[0],
        y=axes[1] if count == 2 else np.zeros(1),
        labels=("along the first eigenvector", "along the second eigenvector"),
        facts={**facts, "hessian_images": float(len(few)), "rise": _RISE},
        notes=(
            f"The axes are eigenvectors of the Hessian with the largest eigenvalues, {' and '.join(f'{v:.3g}' for v in values)}, "
            f"of norm 1; computed on {len(few)} images. At the ends of the default range the loss would rise by {_RISE:g} if it "
            "were quadratic.",
        ),
    )


def _adversarial(model: Model, images: Images, options: DirectionOptions) -> Plane:
    """Directions in the space of images: for each image the sign of its gradient, and random signs, of size eps."""
    loaded = LoadedImages.of(model, images, dtype=torch.float32, gradient=True)
    std = model.normalise(torch.ones(1, *model.shape, device=model.device)) - model.normalise(
        torch.zeros(1, *model.shape, device=model.device)
    )
    rng = torch.Generator().manual_seed(options.seed)
    gradients: list[Tensor] = []
    noises: list[Tensor] = []
    for inputs, labels in zip(loaded.inputs, loaded.labels, strict=True):
        leaf = inputs.clone().requires_grad_(True)
        with torch.enable_grad():
            loss = cross_entropy(loaded.logits(_float(model.network, leaf)), labels).sum()
        (gradient,) = torch.autograd.grad(loss, [leaf])
        gradients.append(options.eps * gradient.sign() * std)
        signs = torch.randint(0, 2, inputs.shape, generator=rng).float() * 2 - 1
        noises.append(options.eps * signs.to(inputs.device) * std)
    shifts = (torch.cat(gradients), torch.cat(noises))[: options.dimensions]
    axis = default_range(-1, 1, POINTS)
    return Plane(
        directions=tuple({} for _ in shifts),
        input_shifts=shifts,
        x=axis,
        y=axis if len(shifts) == 2 else np.zeros(1),
        labels=("sign of the gradient, in eps", "random signs, in eps"),
        facts={"eps": options.eps},
        notes=(
            f"The axes are in the space of the images, not of the weights: at 1 each pixel is changed by {options.eps:.4g}, "
            f"by the sign of the gradient of each image{' and by random signs' if len(shifts) == 2 else ''}; pixels stay in "
            "[0, 1].",
        ),
    )


def _float(network: nn.Module, inputs: Tensor) -> object:
    dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
    return network(inputs.to(dtype))


def _plane(
    directions: Sequence[Direction],
    *,
    labels: tuple[str, str],
    facts: dict[str, float],
    notes: tuple[str, ...],
    low: float = -1,
    high: float = 1,
) -> Plane:
    axis = default_range(low, high, POINTS)
    return Plane(
        directions=tuple(directions),
        x=axis,
        y=axis if len(directions) == 2 else np.zeros(1),
        labels=labels,
        facts=facts,
        notes=notes,
    )


def _target(spec: str, model: Model, own: Weights) -> Weights:
    """The weights of a model by name or folder, or of a checkpoint file."""
    path = Path(spec).expanduser()
    if path.suffix in _SUFFIXES and path.is_file():
        return _matching(read_state(path), own, spec)
    other = load(spec, device=str(model.device))
    return _matching(other.network.state_dict(), own, spec)


def _matching(state: Weights, own: Weights, what: str) -> Weights:
    """The tensors of `state` that are in `own`; UserError where one is missing or of another shape."""
    for name, weight in own.items():
        if name not in state:
            raise UserError(f"{what} is of another architecture: it has no {name}")
        if state[name].shape != weight.shape:
            raise UserError(
                f"{what} is of another architecture: {name} has the shape {tuple(state[name].shape)}, not {tuple(weight.shape)}"
            )
    return {name: state[name].to(weight.dtype) for name, weight in own.items()}
