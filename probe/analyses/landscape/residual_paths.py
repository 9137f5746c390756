"""Does a residual network behave like a collection of many short paths?"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import nn

from probe.analyses.analysis import Analysis
from probe.analyses.job import Job, joined
from probe.analyses.landscape import residual_paths_exhibits as show
from probe.analyses.landscape.loaded_images import LoadedImages, macs_per_image
from probe.analyses.landscape.residual_paths_exhibits import LesionFindings, PathFindings, PlainLesions
from probe.analyses.landscape.surface_arithmetic import working_copy
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import Exhibit
from probe.exhibits.result import Result
from probe.methods.landscape.lesions import deletable, reordered, without_module
from probe.methods.landscape.loss_surface import cross_entropy
from probe.methods.landscape.residual_paths import (
    ResidualPaths,
    gradients_by_length,
    path_counts,
    path_gradient,
)
from probe.model.model import Model

Arrays = dict[str, np.ndarray]
_BUDGET = 2e12  # multiply-accumulates of the lesions by default
_GRADIENT = 3  # cost of a forward and backward pass


class ResidualPathsAnalysis(Analysis):
    """Does a residual network behave like a collection of many short paths?"""

    name = "residual-paths"
    title = "Paths through a residual network"
    takes_compare_to = True
    source = "Veit et al. 2016, arXiv 1605.06431"
    needs_labels = True
    quick = {"max_images": 20, "path_images": 4, "samples": 2, "draws": 2, "most_deleted": 3}

    max_images: int | None = Field(
        None,
        ge=2,
        le=100_000,
        description="number of images on which lesions are tested (default: 300, fewer for expensive networks)",
    )
    path_images: int = Field(
        16, ge=1, le=10_000, description="number of images whose gradients are split by path length"
    )
    samples: int = Field(6, ge=1, le=1000, description="number of random paths per length")
    draws: int = Field(
        4,
        ge=1,
        le=100,
        description="number of random choices of blocks for each number of deleted or swapped blocks",
    )
    most_deleted: int = Field(
        20, ge=1, le=1000, description="maximum number of blocks that are deleted together"
    )

    def run(self, model: Model, images: Images, job: Job) -> Result:
        seed = job.seed()
        network = working_copy(model)
        try:
            paths = ResidualPaths.of(network, self._load(model, images.take(1), network).inputs[0])
        except UserError as error:
            plain = (
                " Use --compare-to to compare with a plain network." if "no residual" in str(error) else ""
            )
            raise UserError(f"{model.name}: {error}.{plain}".replace("..", ".")) from None
        lengths = self._lengths(model, paths, images.take(self.path_images, seed=seed), job)
        tested = images.take(self.max_images or self._affordable(model, len(paths)), seed=seed)
        lesions = self._lesions(model, paths, tested, job)
        others = [self._plain(other, paths, tested, job, n) for n, other in enumerate(job.compare_to)]
        usable = [other for other in others if other is not None]
        exhibits: list[Exhibit] = [
            show.length_chart(lengths),
            show.gradient_chart(lengths),
            show.single_chart(lesions, usable),
            show.many_chart(lesions),
        ]
        if len(lesions.tau):
            exhibits.append(show.reorder_chart(lesions))
        return Result(
            exhibits=exhibits,
            numbers=show.numbers(lengths, lesions, usable),
            warnings=show.warnings(lengths, lesions, bool(job.compare_to), len(usable)),
        )

    def _affordable(self, model: Model, blocks: int) -> int:
        passes = blocks + self.draws * (min(self.most_deleted, blocks) + 8)
        return int(np.clip(_BUDGET // (passes * macs_per_image(model)), 50, 300))

    def _load(
        self, model: Model, images: Images, network: nn.Module, *, gradient: bool = False
    ) -> LoadedImages:
        dtype = next((p.dtype for p in network.parameters() if p.is_floating_point()), torch.float32)
        return LoadedImages.of(model, images, dtype=dtype, gradient=gradient)

    def _lengths(self, model: Model, paths: ResidualPaths, images: Images, job: Job) -> PathFindings:
        """The norm of the gradient along single paths of each length, and of the sum over all of them."""
        loaded = self._load(model, images, paths.network, gradient=True)
        n = len(paths)

        def scores(output: Any, labels: torch.Tensor) -> torch.Tensor:
            return cross_entropy(loaded.logits(output), labels)

        def norms(length: int, rng: torch.Generator) -> Arrays:
            means = []
            for _ in range(self.samples if 0 < length < n else 1):
                branches = torch.randperm(n, generator=rng)[:length].tolist()
                each = [
                    path_gradient(paths, inputs, labels, scores, branches).flatten(1).norm(dim=1)
                    for inputs, labels in zip(loaded.inputs, loaded.labels, strict=True)
                ]
                means.append(float(torch.cat(each).double().mean()))
            return {"norm": np.array([np.mean(means)])}

        def sums(index: int, rng: torch.Generator) -> Arrays:
            gradients = gradients_by_length(paths, loaded.inputs[index], loaded.labels[index], scores)
            whole = gradients.sum(0).flatten(1).norm(dim=1)
            return {
                "exact": gradients.flatten(2).norm(dim=2).T.double().cpu().numpy(),
                "whole": whole.double().cpu().numpy(),
            }

        sampled = joined(job.chunks("paths of each length", range(n + 1), norms))["norm"]
        exact = joined(job.chunks("all paths", range(len(loaded.inputs)), sums))
        return PathFindings(
            counts=path_counts(n),
            norms=sampled,
            sums=exact["exact"].mean(0),
            whole=float(exact["whole"].mean()),
            blocks=n,
            images=len(images),
            samples=self.samples,
        )

    def _lesions(self, model: Model, paths: ResidualPaths, images: Images, job: Job) -> LesionFindings:
        """Errors with single blocks deleted, with several, and in another order."""
        loaded = self._load(model, images, paths.network)
        n = len(paths)

        def error(network: nn.Module, lesion: AbstractContextManager[None]) -> float:
            with lesion:
                return _error(network, loaded)

        def single(block: int, rng: torch.Generator) -> Arrays:
            lesion = paths.without([block] if block >= 0 else [])
            return {"error": np.array([error(paths.network, lesion)])}

        def many(item: tuple[int, int], rng: torch.Generator) -> Arrays:
            blocks = torch.randperm(n, generator=rng)[: item[0]].tolist()
            return {"error": np.array([error(paths.network, paths.without(blocks))])}

        owners = [s.owner for s in paths.sums]
        groups = self._groups(paths, owners, loaded)

        def swapped(item: tuple[int, int], rng: torch.Generator) -> Arrays:
            network, tau = reordered(paths.network, groups, item[0], rng)
            return {"error": np.array([error(network, nullcontext())]), "tau": np.array([tau])}

        each = joined(job.chunks("one block deleted", [-1, *range(n)], single))["error"]
        counts = list(range(1, min(self.most_deleted, n) + 1))
        pairs = list(itertools.product(counts, range(self.draws)))
        several = joined(job.chunks("blocks deleted", pairs, many))["error"].reshape(len(counts), self.draws)
        tau, errors = np.zeros(0), np.zeros(0)
        if groups:
            swaps = list(itertools.product((1, 2, 4, 8, 16), range(self.draws)))
            result = joined(job.chunks("blocks swapped", swaps, swapped))
            tau, errors = result["tau"], result["error"]
        return LesionFindings(
            model=model.name,
            addresses=tuple(owner or s.address for owner, s in zip(owners, paths.sums, strict=True)),
            base=float(each[0]),
            single=each[1:],
            counts=np.array(counts),
            many=several,
            tau=tau,
            reordered=errors,
            images=len(images),
            draws=self.draws,
        )

    def _groups(self, paths: ResidualPaths, owners: Sequence[str], loaded: LoadedImages) -> list[list[str]]:
        """Blocks that keep their shape, by stage: consecutive ones of one shape may be exchanged."""
        if len(set(owners)) < len(owners) or "" in owners:
            return []
        same = deletable(paths.network, owners, loaded.inputs[0][:1])
        modules = dict(paths.network.named_modules())

        def sizes(name: str) -> tuple[Any, ...]:
            return tuple(tuple(p.shape) for p in modules[name].parameters())

        groups = [list(members) for _, members in itertools.groupby(same, key=sizes)]
        return [group for group in groups if len(group) > 1]

    def _plain(
        self, other: Model, paths: ResidualPaths, images: Images, job: Job, number: int
    ) -> PlainLesions | None:
        """The network `other` without each of the same modules, where the identity may replace them; None if nowhere."""
        if other.shape != images.shape or other.classes != images.classes:
            raise UserError(
                f"{other.name} takes other images or predicts other classes than the model that it is compared to"
            )
        network = working_copy(other)
        loaded = self._load(other, images, network)
        owners = [s.owner for s in paths.sums if s.owner]
        same = deletable(network, owners, loaded.inputs[0][:1])
        if not same:
            return None
        compute: Callable[..., Arrays] = lambda name, rng: {  # noqa: E731
            "error": np.array([_error(without_module(network, name) if name else network, loaded)])
        }
        errors = joined(job.chunks(f"one block deleted, model {number + 2}", ["", *same], compute))["error"]
        positions = [owners.index(name) for name in same]
        return PlainLesions(
            model=other.name, base=float(errors[0]), positions=np.array(positions), single=errors[1:]
        )


@torch.no_grad()
def _error(network: nn.Module, loaded: LoadedImages) -> float:
    """The fraction of images that are misclassified."""
    wrong = [
        loaded.logits(network(inputs)).argmax(1) != labels
        for inputs, labels in zip(loaded.inputs, loaded.labels, strict=True)
    ]
    return float(torch.cat(wrong).double().mean())
