"""One channel of one layer: its top patches, what in them activates it, and its map on an image."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
import torch

from apps.clickable import clickable_image
from apps.panels import analysis_panel, analysis_tabs, show_job
from apps.pictures import choose_picture
from apps.session import Choice, choose, errors_in_one_line, jobs, prepared_images, stop
from apps.show import data_uri, figure_html, gallery, plain, png
from apps.visitors import visitor
from probe.analyses.units.top_patches_exhibits import cut
from probe.exhibits.colour import overlay
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.tiles import framed_crop, to_image
from probe.methods.units.top_patches import (
    TopActivations,
    patch_size,
    receptive_box,
    top_activations,
    top_patches,
)
from probe.model.layers import Layer
from probe.model.loading import load

_CHANNELS = 8  # that are shown at a place
_CARD = 96  # pixels of a top patch


def page() -> None:
    choice = choose()
    st.title("Units")
    with errors_in_one_line():
        model = choice.model
        layers = {layer.address: layer for layer in model.layers if layer.leaf and layer.spatial}
        if not layers:
            stop(f"{model.name} has no layer with feature maps")
        addresses = list(layers)
        first = addresses.index(model.layers.feature_map) if model.layers.feature_map in layers else -1
        address = st.selectbox(
            "Layer",
            addresses,
            index=first % len(addresses),
            format_func=lambda name: f"{name} ({layers[name].kind}, {layers[name].channels} channels)",
            key="layer",
            bind="query-params",
            persist_state="session",
        )
        _unit(choice, address or addresses[first])
    st.divider()
    st.header("Analyses")
    with errors_in_one_line():
        analysis_tabs("units", choice)


@st.fragment
def _unit(choice: Choice, address: str) -> None:
    """One channel: a fragment, so that another channel does not run the rest of the page again."""
    with errors_in_one_line():
        layer = choice.model.layers.find(address)
        last = layer.channels - 1
        if st.session_state.get("channel", 0) > last:  # of a layer with more channels
            st.session_state["channel"] = last
        channel = st.number_input(
            "Channel",
            0,
            last,
            0,
            key="channel",
            bind="query-params",
            persist_state="session",
            width=200,
        )
        st.caption(plain(_describe(layer)))
        job = _patches_job(choice, layer)
        show_job(job, lambda top: _patches(choice, layer, int(channel), top))
        _on_image(choice, layer, int(channel), job.result)
        st.subheader("Image that maximises the channel")
        question = f"Which image maximises channel {int(channel)} of {address}?"
        analysis_panel("maximise", choice, question=question, layers=f"{layer.address}:{channel}")


def _describe(layer: Layer) -> str:
    size = " × ".join(map(str, layer.shape))
    field = layer.receptive_field
    if field is None or not field.exact:
        return f"{layer.kind}, output {size}; each unit depends on the whole image."
    return f"{layer.kind}, output {size}; receptive field {field.size[0]} × {field.size[1]} pixels."


def _patches_job(choice: Choice, layer: Layer) -> Any:
    """The nine top activations of every channel of a layer."""

    def work(display: Any) -> TopActivations:
        model = load(choice.spec)
        images = prepared_images(choice.spec, choice.data, choice.n, choice.seed)
        size = model.batch()
        loop = display.start("batch", -(-len(images) // size))

        def batches() -> Any:
            for batch in images.batches(size, model.device):
                yield batch
                display.advance(loop)

        try:
            return top_activations(model, batches(), [layer.address], k=9)[layer.address]
        finally:
            display.finish(loop)

    key = f"patches {choice.spec} {choice.data} {choice.n} {choice.seed} {layer.address}"
    return jobs().submit(key, f"top patches of {layer.address}", work, visitor=visitor(), quick=True)


@dataclass(frozen=True)
class _Tiles:
    """The top patches of a channel and their reconstructions. how: the rule; note: why it is not the usual one."""

    crops: list[np.ndarray]
    reconstructions: list[np.ndarray]
    how: str
    note: str


@st.cache_resource(max_entries=64, show_spinner=False)
def _tiles(key: str, address: str, channel: int, _choice: Choice, _top: TopActivations) -> _Tiles:
    """key: of the choice."""
    layer = _choice.model.layers.find(address)
    with _choice.lock:
        patches = top_patches(_choice.model, _choice.images, layer, _top, channel, rule="guided")
    tiles = cut(patches, layer, limit=192)
    how = "the plain gradient" if patches.rule == "gradient" else f"{patches.rule} backpropagation"
    return _Tiles(
        [to_image(tile) for tile in tiles.crops],
        [to_image(tile) for tile in tiles.reconstructions],
        how,
        patches.fallback,
    )


@st.cache_resource(max_entries=512, show_spinner=False)
def _best_patch(key: str, address: str, channel: int, _choice: Choice, _top: TopActivations) -> np.ndarray:
    """The patch of the largest activation of a channel. key: of the choice."""
    layer = _choice.model.layers.find(address)
    pixels = _choice.images.select(_top.image[channel, :1]).pixels()[0]
    size = (pixels.shape[1], pixels.shape[2])
    box = receptive_box(layer, int(_top.row[channel, 0]), int(_top.column[channel, 0]), size)
    return to_image(framed_crop(pixels, box, patch_size(layer, size), limit=_CARD))


def _patches(choice: Choice, layer: Layer, channel: int, top: TopActivations) -> None:
    st.subheader("Top patches")
    tiles = _tiles(choice.key, layer.address, channel, choice, top)
    values = top.value[channel][: len(tiles.crops)].tolist()
    if not tiles.crops:
        st.info("No image activates this channel.")
        return
    gallery(tiles.crops, [f"{value:.3g}" for value in values])
    st.caption(
        plain(
            "Above: image patches with the largest activations. Below: what activates the unit in each of them, by "
            f"{tiles.how}."
        )
    )
    gallery(tiles.reconstructions, [""] * len(tiles.reconstructions))
    if tiles.note:
        st.caption(plain(tiles.note))


def _on_image(choice: Choice, layer: Layer, channel: int, top: TopActivations | None) -> None:
    """The map of the channel on an image, and the channels of the layer at a place in it. top: of the layer, if known."""
    st.subheader("Activation on an image")
    left, *cells = st.columns([1, 1, 1])
    with left:
        subject = choose_picture(choice, "units")
    if subject is None:
        return
    with choice.lock, torch.inference_mode():
        maps = choice.model.features(subject.pixels, layer.address)[layer.address][0].float().cpu().numpy()
    image, heat = to_image(subject.pixels[0]), maps[channel]
    kind = "signed" if maps.min() < 0 else "magnitude"
    with cells[0]:
        uri, name = data_uri(image), plain(subject.name)
        place = clickable_image(uri, "image", f"place-{choice.spec}-{name}", cells=heat.shape)
        st.caption("Click a position to see its strongest channels.")
    if not np.abs(heat).max() > 0:
        cells[1].info("The channel is zero everywhere on this image.")
    else:
        scale = heatmap_scale(heat, kind, "activation", quantile=1.0)
        rows = np.linspace(0, heat.shape[0] - 1, image.shape[0]).round().astype(int)
        columns = np.linspace(0, heat.shape[1] - 1, image.shape[1]).round().astype(int)
        cells[1].image(
            png(overlay(image, heat[rows][:, columns], scale)),
            caption=f"channel {channel}",
            width="stretch",
            alt=f"channel {channel}",
        )
    if place is None:
        strongest = np.abs(maps).reshape(len(maps), -1).max(1).argsort()[::-1][:_CHANNELS]
        values = maps.reshape(len(maps), -1)
        values = values[np.arange(len(maps)), np.abs(values).argmax(1)]
        st.markdown("Strongest channels on this image")
    else:
        row, column = int(place[1] * heat.shape[0]), int(place[0] * heat.shape[1])
        values = maps[:, row, column]
        strongest = np.abs(values).argsort()[::-1][:_CHANNELS]
        st.markdown(
            f"Strongest channels at row {row}, column {column} of the {heat.shape[0]} × {heat.shape[1]} map"
        )
    strongest = strongest[np.abs(values[strongest]) > 0]
    if not len(strongest):
        st.info("Every channel is zero here.")
        return
    with st.container(horizontal=True, gap="small"):
        for rank, number in enumerate(strongest.tolist()):
            _channel_card(choice, layer, rank, (number, float(values[number])), top)


def _channel_card(
    choice: Choice, layer: Layer, rank: int, entry: tuple[int, float], top: TopActivations | None
) -> None:
    """A channel with its top patch and its activation, beside the largest one over the images; a click opens it.

    entry: the channel and the activation.
    """
    channel, value = entry
    with st.container(width=112, gap="xxsmall"):
        text = f"{value:.3g}"
        if top is not None and (best := float(top.value[channel][0])) > 0:
            text += f" (maximum {best:.3g})"
            patch = _best_patch(choice.key, layer.address, channel, choice, top)
            st.html(figure_html(patch, text, side=_CARD, alt=f"top patch of channel {channel}"))
        else:
            st.caption(plain(text))
        st.button(
            f"Channel {channel}",
            key=f"open-{rank}",
            on_click=_open_channel,
            args=(channel,),
        )


def _open_channel(channel: int) -> None:
    st.session_state["channel"] = channel


page()
