"""One channel of one layer: its top patches, what in them activates it, and its map on an image."""

from typing import Any

import numpy as np
import streamlit as st
import torch

from apps.clickable import clickable_image
from apps.panels import analysis_panel, analysis_tabs, show_job
from apps.pictures import choose_picture
from apps.session import Choice, choose, jobs, prepared_images, stop
from apps.show import data_uri, gallery, plain, png
from probe.analyses.units.top_patches_exhibits import cut
from probe.errors import UserError
from probe.exhibits.colour import overlay
from probe.exhibits.heatmaps import heatmap_scale
from probe.exhibits.tiles import to_image
from probe.methods.units.top_patches import TopActivations, top_activations, top_patches
from probe.model.layers import Layer
from probe.model.loading import load

_CHANNELS = 8  # that are shown at a place


def page() -> None:
    choice = choose()
    st.title("Units")
    try:
        model = choice.model
        layers = {layer.address: layer for layer in model.layers if layer.leaf and layer.spatial}
        if not layers:
            stop(f"{model.name} has no layer of maps")
        columns = st.columns([2, 1, 3])
        addresses = list(layers)
        first = addresses.index(model.layers.feature_map) if model.layers.feature_map in layers else -1
        address = columns[0].selectbox(
            "Layer",
            addresses,
            index=first % len(addresses),
            format_func=lambda name: f"{name} ({layers[name].kind}, {layers[name].channels} channels)",
            key=f"layer-{choice.spec}",
            persist_state="session",
        )
        layer = layers[address or addresses[0]]
        channel = int(
            columns[1].number_input(
                "Channel",
                0,
                layer.channels - 1,
                0,
                key="channel",
                bind="query-params",
                persist_state="session",
            )
        )
        st.caption(plain(_describe(layer)))
        job = _patches_job(choice, layer)
        show_job(job, lambda top: _patches(choice, layer, channel, top))
        _on_image(choice, layer, channel, job.result)
        st.subheader("Image that maximises the channel")
        analysis_panel("maximise", choice, layers=f"{layer.address}:{channel}")
    except UserError as error:
        stop(error)
        return
    st.divider()
    st.header("Analyses")
    analysis_tabs("units", choice)


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
        loop = display.start("patches", -(-len(images) // size))

        def batches() -> Any:
            for batch in images.batches(size, model.device):
                yield batch
                display.advance(loop)

        try:
            return top_activations(model, batches(), [layer.address], k=9)[layer.address]
        finally:
            display.finish(loop)

    key = f"patches {choice.spec} {choice.data} {choice.n} {choice.seed} {layer.address}"
    return jobs().submit(key, f"top patches of {layer.address}", work)


def _patches(choice: Choice, layer: Layer, channel: int, top: TopActivations) -> None:
    st.subheader("Top patches")
    with choice.lock:
        patches = top_patches(choice.model, choice.images, layer, top, channel, rule="guided")
    tiles = cut(patches, layer, limit=160)
    values = top.value[channel][: len(tiles.crops)].tolist()
    if not len(tiles.crops):
        st.info("No image activates this channel.")
        return
    gallery([to_image(tile) for tile in tiles.crops], [f"{value:.3g}" for value in values])
    how = "the plain gradient" if patches.rule == "gradient" else f"{patches.rule} backpropagation"
    st.caption(
        plain(
            f"The patches of the images with the largest activations, and below what activates the unit, by {how}."
        )
    )
    gallery([to_image(tile) for tile in tiles.reconstructions], [""] * len(tiles.reconstructions))
    if patches.fallback:
        st.caption(plain(patches.fallback))


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
        st.caption("Click a place to see the channels there.")
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
            f"Strongest channels at row {row}, column {column} of the map of {heat.shape[0]} × {heat.shape[1]}"
        )
    strongest = strongest[np.abs(values[strongest]) > 0]
    if not len(strongest):
        st.info("Every channel is zero there.")
        return
    with st.container(horizontal=True, gap="small"):
        for number in strongest.tolist():
            _channel_card(choice, layer, number, float(values[number]), top)


def _channel_card(
    choice: Choice, layer: Layer, channel: int, value: float, top: TopActivations | None
) -> None:
    """A channel with its top patch and its activation, beside the largest one over the images; a click opens it."""
    with st.container(width=110, gap="xxsmall"):
        largest = ""
        if top is not None:
            best = float(top.value[channel][0])
            largest = f" of at most {best:.3g}" if best > 0 else ""
            with choice.lock:
                patches = top_patches(choice.model, choice.images, layer, top, channel, rule="guided")
            tiles = cut(patches, layer, limit=96)
            if len(tiles.crops):
                st.image(
                    png(to_image(tiles.crops[0]), least=96), width=96, alt=f"top patch of channel {channel}"
                )
        st.button(
            f"Channel {channel}",
            key=f"open-{layer.address}-{channel}",
            on_click=_open_channel,
            args=(channel,),
        )
        st.caption(plain(f"{value:.3g}{largest}"))


def _open_channel(channel: int) -> None:
    st.session_state["channel"] = channel


page()
