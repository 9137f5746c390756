"""Images within a page: without loss while they fit, and compressed, the largest first, where they do not."""

import io

import numpy as np
import pytest
from PIL import Image

from probe.exhibits.inline import Inline, encode, encode_draft, fit_to_budget


def noise(size: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def plain(size: int) -> Image.Image:
    return Image.fromarray(np.full((size, size, 4), 200, dtype=np.uint8))


def opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data))


def within(pictures: list[Image.Image], budget: int) -> list[Inline]:
    return fit_to_budget([encode(picture) for picture in pictures], budget)


def test_images_within_the_budget_are_lossless():
    picture = noise(40)
    (inline,) = within([picture], 10**6)
    assert not inline.lossy
    assert np.array_equal(np.asarray(opened(inline.data)), np.asarray(picture))


def test_transparency_is_preserved():
    pixels = np.zeros((9, 9, 4), dtype=np.uint8)
    pixels[2:5] = 255, 0, 0, 128
    back = np.asarray(opened(encode(Image.fromarray(pixels)).data))
    assert np.array_equal(back[..., 3], pixels[..., 3])
    assert np.array_equal(back[2:5], pixels[2:5])


def test_an_image_too_tall_for_webp_is_a_png():
    tall = Image.fromarray(np.zeros((17000, 3, 3), dtype=np.uint8))
    assert encode(tall).kind == "png"
    assert opened(encode(tall, 1).data).size[1] <= 16383


def test_the_largest_image_is_compressed_first_and_the_budget_is_met():
    pictures = [noise(400), plain(400), noise(60, seed=1)]
    whole = [inline.n_bytes for inline in within(pictures, 10**9)]
    shrunk = within(pictures, sum(whole) - 1000)
    assert [inline.lossy for inline in shrunk] == [True, False, False]
    assert (shrunk[0].width, shrunk[0].height) == (400, 400)
    tight = within(pictures, 20_000)
    assert sum(inline.n_bytes for inline in tight) <= 20_000


def slowly_fitted(pictures: list[Image.Image], budget: int) -> list[Inline]:
    """Of those that can be compressed further the largest, one level at a time, until the budget is met."""
    chosen, levels = [encode(picture) for picture in pictures], [0] * len(pictures)
    while sum(inline.n_bytes for inline in chosen) > budget and min(levels) < 5:
        i = max((i for i, level in enumerate(levels) if level < 5), key=lambda i: chosen[i].n_bytes)
        levels[i] += 1
        chosen[i] = min(chosen[i], encode(pictures[i], levels[i]), key=lambda inline: inline.n_bytes)
    return chosen


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.2, 0.05, 0.01])
def test_images_are_those_of_a_slow_search(fraction: float):
    pictures = [noise(size, seed=size) for size in (120, 90, 150, 60)]
    budget = int(fraction * sum(encode(picture).n_bytes for picture in pictures))
    assert within(pictures, budget) == slowly_fitted(pictures, budget)


def test_an_impossible_budget_gives_the_smallest_images():
    for picture in (noise(50), plain(50)):
        (inline,) = within([picture], 0)
        assert inline.n_bytes == min(encode(picture, level).n_bytes for level in range(6))
        assert opened(inline.data).size <= picture.size


def test_a_page_counts_the_bytes_of_the_data_uri():
    for size in range(1, 8):
        inline = Inline(bytes(size), "webp", 1, 1)
        assert len(inline.uri) == len("data:image/webp;base64,") + inline.n_bytes


def test_the_same_images_give_the_same_bytes():
    assert within([noise(200), plain(30)], 9000) == within([noise(200), plain(30)], 9000)


def test_a_large_image_is_a_draft_until_it_is_known_that_it_stays_lossless(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("probe.exhibits.inline._DRAFT_PIXELS", 100_000)
    picture = noise(600)
    draft = encode_draft(picture)
    assert draft.draft
    assert not encode_draft(noise(60)).draft
    (kept,) = fit_to_budget([draft], 10**7)
    assert kept == encode(picture)
    # The second budget is one that a good encoding was expected to meet, and does not.
    for budget in (100_000, kept.n_bytes - 1):
        (shrunk,) = fit_to_budget([draft], budget)
        assert shrunk.lossy
        assert shrunk.n_bytes <= budget
    assert 0.8 * draft.n_bytes < kept.n_bytes - 1


def test_an_image_of_few_colours_is_no_draft_whose_bytes_would_make_it_lossy(monkeypatch: pytest.MonkeyPatch):
    """The kernels of a layer: 16 kB if compressed well, 1 MB as a draft."""
    monkeypatch.setattr("probe.exhibits.inline._DRAFT_PIXELS", 100_000)
    monkeypatch.setattr("probe.exhibits.inline._DRAFT_BYTES", 0)
    kernels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8).repeat(20, 0).repeat(20, 1)
    picture = Image.fromarray(kernels).convert("RGBA")
    assert encode_draft(picture) == encode(picture)
    (kept,) = fit_to_budget([encode_draft(picture)], 50_000)
    assert not kept.lossy
