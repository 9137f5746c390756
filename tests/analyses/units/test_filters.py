"""Tests of `filters`: what is shown of each kind of layer, and the statistics beside it."""

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.units import filters_exhibits as captions
from probe.analyses.units.filters import Filters
from probe.analyses.units.filters_exhibits import GridFindings, Smoothness
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.checks import check
from probe.exhibits.exhibits import Exhibit, ImageGrid, Matrix, Table
from probe.exhibits.result import Result
from probe.methods.inspection.filters import FilterBank
from probe.model.loading import load
from probe.model.model import Model
from probe.runs.job import RunJob
from tests.conftest import model_of


def run(model: Model, **options: object) -> tuple[Result, dict[str, Exhibit]]:
    images = Images.from_tensor(torch.zeros(1, *model.shape))
    result = Filters(**options).run(model, images, RunJob(0))  # type: ignore[arg-type]
    for exhibit in result.exhibits:
        check(exhibit)
    return result, {exhibit.title: exhibit for exhibit in result.exhibits}


def grid(exhibits: dict[str, Exhibit], title: str) -> ImageGrid:
    exhibit = exhibits[title]
    assert isinstance(exhibit, ImageGrid)
    return exhibit


def test_colour_filters_share_one_scale_and_grey_is_zero(convnet: Model):
    _, exhibits = run(convnet)
    shown = grid(exhibits, "Filters of 0")
    weights = convnet.network[0].weight  # type: ignore[index]
    limit = float(weights.abs().max())
    weights_shown = np.stack([(image - 0.5) * 2 * limit for image in shown.images])
    np.testing.assert_allclose(weights_shown, weights.permute(0, 2, 3, 1).numpy(), atol=1e-5)
    assert shown.facts["limit"] == pytest.approx(limit)


def test_on_a_scale_of_its_own_every_filter_reaches_an_end(convnet: Model):
    shown = grid(run(convnet, own_scale=True)[1], "Filters of 0")
    for image in shown.images:
        assert np.abs(image - 0.5).max() == pytest.approx(0.5)


def test_grey_filters_are_maps_about_zero():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 16, 3))
    shown = grid(run(model_of(network, (1, 8, 8), 3))[1], "Filters of 0")
    assert shown.scale is not None
    assert shown.scale.kind == "diverging"
    np.testing.assert_array_equal(np.stack(shown.images), network.state_dict()["0.weight"][:, 0].numpy())


def test_a_one_layer_network_shows_a_template_of_each_class():
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    shown = grid(run(model_of(network, (1, 8, 8), 10))[1], "Class templates of 1")
    assert shown.labels == [f"class {index}" for index in range(10)]
    np.testing.assert_array_equal(
        np.stack(shown.images), network.state_dict()["1.weight"].reshape(10, 8, 8).numpy()
    )


def test_of_deeper_layers_the_kernels_with_the_largest_weights_are_shown(convnet: Model):
    shown = grid(run(convnet, slices=3)[1], "Kernels of 4")
    weights = convnet.network[4].weight.numpy()  # type: ignore[index]
    rows = [int(head.removeprefix("out ")) for head in shown.row_headers]
    columns = [int(head) for head in shown.column_headers]
    assert rows == sorted(np.argsort(-(weights**2).sum((1, 2, 3)))[:3].tolist())
    for i, image in enumerate(shown.images):
        np.testing.assert_array_equal(image, weights[rows[i // 3], columns[i % 3]])
    assert (shown.facts["outputs"], shown.facts["inputs"]) == (12, 8)


def test_one_by_one_convolutions_are_a_matrix_and_depthwise_ones_grid():
    network = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(6, 5, 1), nn.Flatten(), nn.Linear(80, 2)
    )
    _, exhibits = run(model_of(network, (3, 8, 8), 2), layers=("0", "1", "2"))
    mixing = exhibits["Mixing weights of 2"]
    assert isinstance(mixing, Matrix)
    np.testing.assert_array_equal(mixing.values, network.state_dict()["2.weight"][:, :, 0, 0].numpy())
    assert len(grid(exhibits, "Filters of 1").images) == 6


def test_an_untrained_first_layer_is_reported_as_noisy_and_a_trained_one_is_not():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fresh = model_of(nn.Sequential(nn.Conv2d(3, 64, 7), nn.Flatten(), nn.Linear(64 * 4, 2)), (3, 8, 8), 2)
    result, _ = run(fresh)
    assert result.numbers["first_layer_noisy"].value > 0.9
    assert any("random weights" in warning for warning in result.warnings)
    trained, _ = run(load("lenet5-digits", device="cpu"))
    assert trained.numbers["first_layer_noisy"].value < 0.6
    assert trained.numbers["first_layer_smoothness"].value > 0.2


def test_the_table_counts_dead_filters_and_near_duplicates(convnet: Model):
    weights = convnet.network[0].weight  # type: ignore[index]
    weights.data[2] = 0
    weights.data[5] = 3 * weights.data[1]
    result, exhibits = run(convnet)
    table = exhibits["Statistics of the filters"]
    assert isinstance(table, Table)
    assert table.rows[0][-2:] == [1 / 8, 2 / 8]
    assert result.numbers["first_layer_dead"].value == 1 / 8


def test_layers_without_filters_and_networks_without_any_are_refused(convnet: Model):
    with pytest.raises(UserError, match="no layer with filters '2'"):
        run(convnet, layers=("2",))
    with pytest.raises(UserError, match="no layer '77'"):
        run(convnet, layers=("77",))
    with pytest.raises(UserError, match="neither a convolution nor"):
        run(model_of(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (3, 8, 8), 3))


def findings(**options: object) -> GridFindings:
    setting: dict = {
        "what": "filter",
        "address": "conv1",
        "shown": 8,
        "total": 64,
        "size": (5, 3),
        "limit": 0.25,
        "coloured": True,
        "proportion": 0.31,
    }
    return GridFindings(**{**setting, **options})


def test_captions_of_grids_name_the_scale_and_the_smoothness():
    smoothness = Smoothness(median=-0.001, noisy=0.5)
    assert captions.caption_of_grid(findings(), smoothness) == (
        "8 of 64 filters of conv1, 5 x 3, on one scale up to 0.25. Mid-grey is 0. 31% of the filters respond to colour more "
        "than to brightness. Neighbouring weights have a correlation of 0.00 (median; 0 for random weights); 50% of the "
        "filters are as noisy as random weights."
    )
    grey = captions.caption_of_grid(findings(coloured=False, limit=None, total=8), smoothness)
    assert grey.startswith(
        "All 8 filters of conv1, 5 x 3, each scaled separately. Red is positive, blue negative."
    )
    assert "The weights of 31% have a positive sum." in grey
    single = captions.caption_of_grid(findings(shown=1, total=1), Smoothness(float("nan"), 0.0))
    assert single.startswith("The only filter of conv1")
    assert "31%" not in single
    assert single.endswith("A filter of one weight has no smoothness.")


def test_captions_of_slices_and_of_the_table_count_what_they_show():
    weights = np.zeros((64, 32, 3, 3), np.float32)
    text = captions.caption_of_slices(FilterBank("conv2", weights, 2, False, False), 12, 10, 0.4)
    assert "inputs of a group (columns) of conv2" in text
    assert "12 of 64 outputs and 10 of 32 inputs" in text
    assert "hold 40% of the energy" in text
    mixing = FilterBank("mix", weights[:, :, :1, :1], 1, False, False)
    text = captions.caption_of_mixing(mixing, 48, 32, 3.0)
    assert "comes from 3 of 32 inputs (median). Shown are 48 of 64 outputs and all 32 inputs." in text
    table = captions.caption_of_table(1, 1200, 1, 7)
    assert "median of their layer: 1 of 1,200 filters in 1 layer." in table
