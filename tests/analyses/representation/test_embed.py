"""`embed` shows embeddings with their quality, and refuses in one line what cannot be embedded."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from probe.analyses.representation import embed_captions as captions
from probe.analyses.representation import embed_exhibits as show
from probe.analyses.representation.embed import Embed
from probe.data.images import Images
from probe.errors import UserError
from probe.exhibits.exhibits import ImageGrid, Scatter, Table
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.methods.representation.features import penultimate_layer
from probe.model.model import Model
from probe.params import validate
from probe.runs.job import RunJob
from tests.conftest import model_of


def embed(**parameters: object) -> Embed:
    return validate(Embed, {"methods": "tsne,pca", "neighbours": 5, "seeds": 2, "grid": 5, **parameters})


def test_every_embedding_shows_all_images_with_their_classes_and_its_quality(
    convnet: Model, noise_images: Images
) -> None:
    result = embed(perplexity="3,5").run(convnet, noise_images, RunJob(0))
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
    assert list(result.numbers)[:2] == [
        "neighbourhood_overlap_t_sne_perplexity_3",
        "trustworthiness_t_sne_perplexity_3",
    ]
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert table.rows[0][1] == 1
    assert len(table.rows) == 4
    assert table.rows[1][-1] is not None, "two seeds are compared"


def test_one_seed_measures_no_stability(convnet: Model, noise_images: Images) -> None:
    table = embed(methods="pca", seeds=1).run(convnet, noise_images, RunJob(0)).exhibits[-1]
    assert isinstance(table, Table)
    assert "stability" not in table.columns
    assert table.facts["seeds"] == 0


def test_held_out_images_are_placed_and_moved_along_the_gradient(
    convnet: Model, noise_images: Images
) -> None:
    result = embed(holdout=6, eps="8/255").run(convnet, noise_images, RunJob(0))
    (scatter,) = [e for e in result.exhibits if isinstance(e, Scatter) and "Held-out" in e.title]
    assert scatter.group is not None
    assert torch.from_numpy(scatter.group).bincount().tolist() == [34, 6, 18, 6]
    assert scatter.facts["n"] == 6
    assert 0 <= scatter.facts["knn_accuracy"] <= 1
    xy = np.stack([scatter.x, scatter.y], 1)
    shift = np.median(np.linalg.norm(xy[-6:] - xy[34:40], axis=1)) / np.ptp(xy[:34], axis=0).max()
    assert scatter.facts["shift"] == pytest.approx(shift, rel=1e-5)
    assert shift > 0


def test_attacked_images_lie_where_their_features_project_to_and_are_joined_to_their_originals(
    convnet: Model, noise_images: Images
) -> None:
    labels = convnet.logits(noise_images.pixels()).argmax(1)  # all are correct, so all are attacked
    images = replace(noise_images, labels=labels)
    result = embed(methods="pca,tsne", attacked=7, attack="fgsm", eps=0.2).run(convnet, images, RunJob(0))
    linear, tsne = [e for e in result.exhibits if isinstance(e, Scatter) and e.links is not None]
    plain = next(e for e in result.exhibits if isinstance(e, Scatter) and e.title.startswith("PCA"))
    assert linear.links is not None
    assert linear.links.tolist() == [[i, 40 + i] for i in range(7)]
    assert linear.thumbnails is not None
    # The same attack by hand, and the projection onto the components that the embedding is known by.
    rows = [plain.point_names.index(name.rpartition(": ")[0]) for name in linear.point_names[:7]]
    pixels, kept = images.pixels(), embed().layer or penultimate_layer(convnet.layers).address
    attacked = FGSM(eps=0.2)(convnet, pixels[rows], labels[rows]).pixels
    assert np.allclose(linear.thumbnails[40:], attacked.permute(0, 2, 3, 1), atol=1e-6)
    names = [
        f"attacked: predicted as {convnet.classes[c]}" for c in convnet.logits(attacked).argmax(1).tolist()
    ]
    assert [name.rpartition(", ")[2] for name in linear.point_names[40:]] == names
    both = convnet.features(torch.cat([pixels, attacked]), kept)[kept].detach()
    values = (both.mean((2, 3)) if both.ndim == 4 else both.flatten(1)).numpy()
    centred = values[:40] - values[:40].mean(0)
    axes = np.linalg.lstsq(centred, np.stack([plain.x, plain.y], 1), rcond=None)[0]
    expected = (values[40:] - values[:40].mean(0)) @ axes
    scale = np.ptp(plain.x)
    assert np.linalg.matrix_rank(centred) == centred.shape[1], "an attack may leave the span of the images"
    assert np.allclose(np.stack([linear.x, linear.y], 1)[40:], expected, atol=1e-3 * scale)
    assert linear.facts["error"] == 0
    assert tsne.facts["error"] > 0
    assert "with all other points fixed" in tsne.caption
    shift = np.linalg.norm(
        np.stack([linear.x, linear.y], 1)[40:] - np.stack([plain.x, plain.y], 1)[rows], axis=1
    )
    width = max(np.ptp(plain.x), np.ptp(plain.y))
    assert linear.facts["shift"] == pytest.approx(np.median(shift) / width, rel=1e-4)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"perplexity": "14"}, "perplexity 14 needs at least 43 images, got 40"),
        ({"neighbours": 40}, "40 neighbours need at least 41 images, got 40"),
        ({"methods": "tsne,umpa"}, "no method 'umpa'. Did you mean umap"),
        ({"layer": "5:2"}, "a whole layer"),
        ({"layer": "nine"}, "no layer 'nine'"),
        ({"holdout": 38}, "holdout must leave at least 4 of the 40"),
        ({"holdout": 5, "methods": "pca"}, "only a t-SNE embedding can take further images"),
    ],
)
def test_what_cannot_be_embedded_is_refused_in_one_line(
    convnet: Model, noise_images: Images, parameters: dict[str, object], words: str
) -> None:
    with pytest.raises(UserError, match=words) as error:
        embed(**parameters).run(convnet, noise_images, RunJob(0))
    assert "\n" not in str(error.value)


def test_constant_images_are_refused(convnet: Model) -> None:
    grey = Images.from_tensor(torch.full((12, 3, 32, 32), 0.5))
    with pytest.raises(UserError, match="same features"):
        embed().run(convnet, grey, RunJob(0))


def test_images_without_labels_are_embedded_without_classes(convnet: Model, noise_images: Images) -> None:
    bare = Images.from_tensor(noise_images.pixels())
    result = embed().run(convnet, bare, RunJob(0))
    assert any("no labels" in warning for warning in result.warnings)
    assert all(e.group is None for e in result.exhibits if isinstance(e, Scatter))


def test_umap_and_numba_are_only_imported_when_they_are_used() -> None:
    code = "import sys, probe.analyses.representation.embed; assert not {'umap', 'numba', 'openTSNE'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_variance_of_the_plane_is_reported_for_principal_components_only(
    convnet: Model, noise_images: Images
) -> None:
    tsne, pca, *_ = embed(perplexity="3").run(convnet, noise_images, RunJob(0)).exhibits
    assert "explained_variance" not in tsne.facts
    assert 0 < pca.facts["explained_variance"] <= 1


def test_duplicated_images_can_be_embedded(convnet: Model, noise_images: Images) -> None:
    twice = noise_images.select(torch.arange(40).repeat(2))
    result = embed(perplexity="5").run(convnet, twice, RunJob(0))
    assert all(
        bool(torch.from_numpy(e.x).isfinite().all()) for e in result.exhibits if isinstance(e, Scatter)
    )


def test_images_of_one_class_are_embedded_without_knn_accuracy(convnet: Model, noise_images: Images) -> None:
    alike = noise_images.select(noise_images.labels == 3).select([0, 1, 2, 3] * 3)
    result = embed(perplexity="3", methods="pca", seeds=1).run(convnet, alike, RunJob(0))
    assert "All images belong to one class: the kNN accuracy is omitted." in result.warnings
    table = result.exhibits[-1]
    assert isinstance(table, Table)
    assert "kNN accuracy" not in table.columns


POINTS = captions.EmbeddingFindings(
    layer="conv5", n=60, k=5, neighbourhood_overlap=0.457, trustworthiness=0.981
)


def test_the_caption_says_that_distances_mean_little_in_tsne_but_not_in_principal_components() -> None:
    text = captions.embedding_caption(POINTS)
    assert text == (
        "60 images by their features in conv5: 45.7% of the 5 nearest neighbours are preserved, the trustworthiness is"
        " 0.981. Sizes of clusters and distances between them mean little."
    )
    pca = captions.embedding_caption(replace(POINTS, explained_variance=0.4, knn_accuracy=0.9))
    assert "mean little" not in pca
    assert "The two axes hold 40.0% of the variance." in pca
    assert "correct for 90.0% of the images" in pca
    assert "mean little" in captions.thumbnail_caption(all_images=True, metric=False)
    assert "mean little" not in captions.thumbnail_caption(all_images=True, metric=True)


def test_the_caption_of_held_out_images_gives_accuracy_and_shift_where_they_are_known() -> None:
    assert captions.holdout_caption(captions.HoldoutFindings(n=1)) == (
        "A held-out image, placed in the fixed embedding."
    )
    findings = captions.HoldoutFindings(n=6, knn_accuracy=0.5, eps=8 / 255, shift=0.125)
    assert captions.holdout_caption(findings) == (
        "6 held-out images, placed in the fixed embedding. The class of their neighbours in the embedding is correct"
        " for 50.0%. A signed gradient step of eps 8/255 moves them by 12.5% of the width of the embedding (median)."
    )


@pytest.mark.parametrize(
    ("placement", "words"),
    [
        ("exact", "projected onto the two components, which is exact"),
        ("t-SNE", "moves unchanged images by 3.0%"),
        (
            "neighbours",
            "their 15 nearest neighbours in feature space, not by UMAP, which moves unchanged images by 3.0%",
        ),
    ],
)
def test_the_caption_of_attacked_images_says_how_they_are_placed(placement, words: str) -> None:
    findings = captions.AttackedFindings(
        attack="FGSM",
        eps=8 / 255,
        n=30,
        fooled=12,
        shift=0.21,
        error=0.03,
        placement=placement,
        k=15,
        agreement=0.75,
    )
    caption = captions.attacked_caption(findings)
    assert "30 images before and after an attack (FGSM, eps 8/255)" in caption
    assert "12 are misclassified. 75% of these lie among images of the predicted class." in caption
    assert words in caption


def test_the_caption_of_the_quality_names_the_best_embedding_and_mentions_stability_where_measured() -> None:
    findings = captions.QualityFindings(
        best="PCA", neighbourhood_overlap=0.3, embeddings=2, k=5, components=50, explained_variance=0.9
    )
    text = captions.quality_caption(findings)
    assert text.startswith(
        "PCA preserves the most neighbours, 30.0% of the 5 nearest; 50 components hold 90.0% of the variance."
    )
    assert "Stability" not in text
    assert "sample" not in text
    assert "preserves its neighbours" in captions.quality_caption(replace(findings, embeddings=1))
    measured = replace(findings, seeds=3, seeded_sample=True, random_tsne=True, ranked_sample=True)
    text = captions.quality_caption(measured)
    assert "both measured on a random sample" in text
    assert (
        "Stability is the similarity of embeddings of a random sample from 3 seeds"
        " (t-SNE from a random initialisation)." in text
    )


def many_classes(counts: dict[int, int], classes: int = 24) -> tuple[Model, torch.Tensor]:
    """A linear classifier of `classes` classes whose weights point in four directions, and labels."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes))
    with torch.no_grad():
        weight = network.get_parameter("3.weight")
        weight.copy_(
            10 * torch.eye(4)[torch.arange(classes) % 4]
            + 0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
        )
    labels = torch.cat([torch.full((count,), label) for label, count in counts.items()])
    return model_of(network, (3, 32, 32), classes), labels


def test_of_many_classes_the_most_frequent_have_a_colour() -> None:
    model, labels = many_classes({3: 5, 7: 4, **dict.fromkeys(range(10, 21), 1)})
    colouring = show.colour_by_class(model, labels.numpy())
    assert colouring.names[:2] == ["class 3", "class 7"]
    assert colouring.names[-1] == "other classes"
    assert len(colouring.names) == 11
    assert colouring.groups is not None
    assert colouring.groups[:9].tolist() == [0] * 5 + [1] * 4
    assert (
        colouring.note
        == "The 10 most frequent of 13 classes have a colour each; they have 85% of the images."
    )
    assert colouring.facts["frequent_fraction"] == pytest.approx(17 / 20)


def test_where_no_class_is_frequent_colours_are_groups_of_classes_with_similar_weights(monkeypatch) -> None:
    monkeypatch.setattr(show, "_MAX_GROUPS", 4)
    model, labels = many_classes(dict.fromkeys(range(24), 1))
    colouring = show.colour_by_class(model, labels.numpy())
    assert colouring.groups is not None
    assert len(set(colouring.groups.tolist())) == 4
    for direction in range(4):
        assert len(set(colouring.groups[direction::4].tolist())) == 1
    assert all(name.endswith(" +5") for name in colouring.names)
    assert "4 groups of the 24 classes" in colouring.note


def test_more_images_than_the_limit_are_sampled_and_that_is_said(
    convnet: Model, noise_images: Images
) -> None:
    result = embed(max_images=20, methods="pca", seeds=1).run(convnet, noise_images, RunJob(0))
    assert any("20 of 40 images are embedded" in warning for warning in result.warnings)
    scatter = result.exhibits[0]
    assert isinstance(scatter, Scatter)
    assert len(scatter.x) == 20
    everything = embed(max_images=0, methods="pca", seeds=1).run(convnet, noise_images, RunJob(0))
    assert not any("are embedded" in warning for warning in everything.warnings)
