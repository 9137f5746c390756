"""Does `embed` say what it found, and refuse in one line what cannot be mapped?"""

import subprocess
import sys

import pytest
import torch

from probe.analyses.representation.embed import Embed
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid, Scatter, Table
from probe.model.model import Model
from probe.params import validate
from probe.runs.job import RunJob


def mapping(**parameters: object) -> Embed:
    return validate(Embed, {"methods": "tsne,pca", "neighbours": 5, "seeds": 2, "grid": 5, **parameters})


def test_a_map_shows_every_image_with_its_class_and_the_figures_that_say_how_far_to_believe_it(
    convnet: Model, noise_images: Images
) -> None:
    result = mapping(perplexity="3,5").run(convnet, noise_images, RunJob(0))
    scatters = [e for e in result.exhibits if isinstance(e, Scatter)]
    assert [s.title.split(" of ")[0] for s in scatters[:3]] == [
        "t-SNE, perplexity 3",
        "t-SNE, perplexity 5",
        "PCA",
    ]
    assert all(len(s.x) == 40 for s in scatters[:3])
    assert scatters[0].group is not None
    assert noise_images.labels is not None
    assert scatters[0].group.tolist() == noise_images.labels.tolist()
    assert scatters[3].thumbnails is not None
    assert any(isinstance(e, ImageGrid) and "grid" in e.title for e in result.exhibits)
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.rows[0][1] == 1
    assert len(table.rows) == 4
    assert table.rows[1][-1] is not None, "two seeds are compared"


def test_one_seed_measures_no_stability(convnet: Model, noise_images: Images) -> None:
    table = mapping(methods="pca", seeds=1).run(convnet, noise_images, RunJob(0)).exhibits[-1]
    assert isinstance(table, Table)
    assert "stability" not in table.columns
    assert "stability" not in table.caption


def test_images_that_were_left_out_are_placed_and_led_off(convnet: Model, noise_images: Images) -> None:
    result = mapping(placed=6, eps="8/255").run(convnet, noise_images, RunJob(0))
    (placed,) = [e for e in result.exhibits if isinstance(e, Scatter) and "placed" in e.title]
    assert placed.group is not None
    assert torch.from_numpy(placed.group).bincount().tolist() == [34, 6, 18, 6]
    assert "6 images that were left out" in placed.caption


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"perplexity": "14"}, "perplexity 14 needs at least 43 images, got 40"),
        ({"neighbours": 40}, "40 neighbours need at least 41 images, got 40"),
        ({"methods": "tsne,umpa"}, "no method 'umpa'. Did you mean umap"),
        ({"layer": "5:2"}, "whole layers"),
        ({"layer": "nine"}, "no layer 'nine'"),
        ({"placed": 38}, "placed must leave at least 4 of the 40"),
        ({"placed": 5, "methods": "pca"}, "only a t-SNE map takes further images"),
    ],
)
def test_what_cannot_be_mapped_is_refused_in_one_line(
    convnet: Model, noise_images: Images, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        mapping(**parameters).run(convnet, noise_images, RunJob(0))
    assert "\n" not in str(error.value)


def test_constant_images_cannot_be_mapped(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((12, 3, 32, 32), 0.5))
    with pytest.raises(UserError, match="same features"):
        mapping().run(convnet, grey, RunJob(0))


def test_images_without_labels_are_mapped_without_classes(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels())
    result = mapping().run(convnet, bare, RunJob(0))
    assert any("no labels" in warning for warning in result.warnings)
    assert all(e.group is None for e in result.exhibits if isinstance(e, Scatter))


def test_umap_and_numba_are_not_imported_by_who_does_not_ask_for_them() -> None:
    code = "import sys, probe.analyses.representation.embed; assert not {'umap', 'numba', 'openTSNE'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_distances_mean_little_in_tsne_but_not_in_principal_components(
    convnet: Model, noise_images: Images
) -> None:
    tsne, pca, *_ = mapping(perplexity="3").run(convnet, noise_images, RunJob(0)).exhibits
    assert "distances between them mean little" in tsne.caption
    assert "distances between them mean little" not in pca.caption
    assert "The two axes hold" in pca.caption


def test_images_that_come_twice_are_mapped(convnet: Model, noise_images: Images) -> None:
    twice = noise_images.select(torch.arange(40).repeat(2))
    result = mapping(perplexity="5").run(convnet, twice, RunJob(0))
    assert all(
        bool(torch.from_numpy(e.x).isfinite().all()) for e in result.exhibits if isinstance(e, Scatter)
    )


def test_one_class_is_mapped_without_figures_of_classes(convnet: Model, noise_images: Images) -> None:
    alike = noise_images.select(noise_images.labels == 3).select([0, 1, 2, 3] * 3)
    result = mapping(perplexity="3", methods="pca", seeds=1).run(convnet, alike, RunJob(0))
    assert "The images are of one class: figures of classes are left out." in result.warnings
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert "class of neighbours" not in table.columns
