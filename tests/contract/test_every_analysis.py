"""Contract tests of every registered analysis."""

import contextlib
import hashlib
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt

from probe.analyses import catalogue, find
from probe.analyses.analysis import Analysis
from probe.cli.app import format_default
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import KINDS
from probe.exhibits.result import Result
from probe.exhibits.storage import save
from probe.model.model import Model
from probe.reporting.recipes import read_recipe
from probe.runs.execute import execute, make_analysis, prepare
from probe.runs.job import RunJob
from tests.conftest import suited

NAMES = list(catalogue())
every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def job(convnet: Model) -> RunJob:
    other = Model(torch.nn.Sequential(*convnet.network), convnet.card.model_copy(update={"name": "other"}))
    return RunJob(5, compare_to=[other] * 2)


def chosen(name: str) -> Analysis:
    """The analysis with its quick parameters, as a contract test runs it."""
    return make_analysis(name, **find(name).quick)


def answer(name: str, model: Model, images: Images, job: RunJob) -> Result:
    return execute(chosen(name), suited(name, model), prepare(model, images), job)


def state(model: Model) -> list[Any]:
    """All that a run might leave behind on a network."""
    network = model.network
    hooks = [
        (
            name,
            len(m._forward_hooks),
            len(m._forward_pre_hooks),
            len(m._backward_hooks),
            m.training,
            len(vars(m)),
        )
        for name, m in network.named_modules()
    ]
    weights = hashlib.sha256(
        b"".join(
            v.contiguous().view(-1).view(torch.uint8).numpy().tobytes() for v in network.state_dict().values()
        )
    ).hexdigest()
    return [hooks, weights, [(p.grad is None, p.requires_grad) for p in network.parameters()]]


def random_state() -> list[Any]:
    return [random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()]


@every
def test_its_name_title_source_and_question_are_set(name: str) -> None:
    kind = find(name)
    assert kind.name == name
    assert kind.title
    assert kind.question().endswith("?"), "the first line of its docstring is its question"


@every
def test_every_parameter_is_described(name: str) -> None:
    for field, info in find(name).model_fields.items():
        assert info.description, f"{name}.{field} has no description"
        assert not info.is_required(), f"{name}.{field} has no default"


@every
def test_nothing_is_left_on_the_network_nor_in_the_random_state(
    name: str, convnet: Model, noise_images: Images, job: RunJob
) -> None:
    before, dice = state(convnet), random_state()
    pixels = noise_images.pixels()
    result = answer(name, convnet, noise_images, job)
    assert state(convnet) == before
    assert random_state() == dice
    assert torch.equal(noise_images.pixels(), pixels)
    assert_sound(result)


def assert_sound(result: Result) -> None:
    """Exhibits that can be drawn, captions that say something, headline numbers that are numbers."""
    assert result.exhibits
    for exhibit in result.exhibits:
        assert type(exhibit).__name__ in KINDS
        check(exhibit)
    titles = [exhibit.title for exhibit in result.exhibits]
    assert len(set(titles)) == len(titles), "two exhibits of one result have the same title"
    for what, number in result.numbers.items():
        assert np.isfinite(number.value), what
        if number.low is not None and number.high is not None:
            assert number.low <= number.value <= number.high, what


@every
def test_the_network_is_restored_after_an_exception_too(
    name: str, convnet: Model, noise_images: Images, job: RunJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    convnet.layers  # noqa: B018  the survey is not what fails
    before = state(convnet)
    forward, calls = convnet.network[4].forward, []

    def broken(x: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise RuntimeError("on purpose")
        return forward(x)

    with monkeypatch.context() as patch:
        patch.setattr(convnet.network[4], "forward", broken)
        with contextlib.suppress(RuntimeError):
            answer(name, convnet, noise_images, job)
    convnet.network[4].__dict__.pop("forward", None)
    assert state(convnet) == before


@every
def test_the_same_seed_gives_the_same_bytes(
    name: str, convnet: Model, noise_images: Images, job: RunJob, tmp_path: Path
) -> None:
    again = RunJob(5, compare_to=job.compare_to)
    for folder, used in (("one", job), ("two", again)):
        (tmp_path / folder).mkdir()
        save(answer(name, convnet, noise_images, used), tmp_path / folder)
    one = {p.name: p.read_bytes() for p in (tmp_path / "one").iterdir()}
    two = {p.name: p.read_bytes() for p in (tmp_path / "two").iterdir()}
    assert one == two


@every
def test_flags_recipes_and_defaults_agree(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import probe.cli.report_commands

    defaults = find(name)()
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'title = "x"\n[[analysis]]\nname = "{name}"\n')
    assert read_recipe(recipe).analyses == (defaults,)
    recipe.write_text(f'[[analysis]]\nname = "{name}"\nno_such = 1\n')
    with pytest.raises(UserError, match=rf"analysis 1 \({name}\): there is no parameter 'no_such'"):
        read_recipe(recipe)

    plans: list[Any] = []
    monkeypatch.setattr(
        probe.cli.report_commands, "run_report", lambda options, plan, **more: plans.append(plan) or 0
    )
    flags = []
    for field, info in find(name).model_fields.items():
        value = format_default(info.default)
        flag = "--" + field.replace("_", "-")
        if isinstance(info.default, bool):
            flags.append(flag if info.default else "--no-" + field.replace("_", "-"))
        elif value is not None:
            flags += [flag, value]
    assert probe.cli.main([name]) == 0
    assert probe.cli.main([name, *flags]) == 0
    for plan in plans:
        (analysis,) = plan.analyses
        for field, default in dict(defaults).items():
            value = getattr(analysis, field)
            assert value == default or value == pytest.approx(default, rel=1e-5), field


@every
def test_a_value_out_of_bounds_is_refused_in_one_line(name: str) -> None:
    for field, info in find(name).model_fields.items():
        for bound in info.metadata:
            wrong = {Ge: lambda b: b.ge - 1, Gt: lambda b: b.gt, Le: lambda b: b.le + 1, Lt: lambda b: b.lt}
            if type(bound) in wrong:
                with pytest.raises(UserError) as error:
                    make_analysis(name, **{field: wrong[type(bound)](bound)})
                assert field in str(error.value)
                assert "\n" not in str(error.value)


@every
def test_an_unknown_parameter_gets_the_nearest_name(name: str) -> None:
    with pytest.raises(UserError, match="there is no parameter 'epsilonn'"):
        make_analysis(name, epsilonn=1)


def test_an_unknown_analysis_gets_the_nearest_name() -> None:
    with pytest.raises(UserError, match="Did you mean fgsm"):
        find("fgms")
