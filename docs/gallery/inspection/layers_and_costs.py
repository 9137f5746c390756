"""
Where are the parameters, and where does the time go?
=====================================================

`architecture` needs no images: it traces the network once, and counts parameters, multiply-accumulates and
receptive fields, exactly.
"""

import probe

model = probe.load("resnet20-cifar10")
result = probe.run("architecture", model)
result["Parameters and MACs by kind of layer"]

# %%
result["Receptive fields"]

# %%
# The same as a table, here the five costliest convolutions:

layers = sorted(
    (layer for layer in model.layers if layer.leaf), key=lambda layer: -layer.macs
)
for layer in layers[:5]:
    print(
        f"{layer.address:16} {layer.parameters:7,} parameters {layer.macs:10,} MACs"
    )

# %%
# What the pictures mean
# ----------------------
#
# Nearly all weights and nearly all work are in the convolutions. Early layers have few weights and large maps, late
# ones many weights and small maps, so that parameters and time lie in different places. From the layer on at which
# the receptive field exceeds the image, the units in the middle of a map can depend on every pixel.
#
# What they do not mean
# ---------------------
#
# A multiply-accumulate is not a second: small maps, memory traffic and the library decide how fast a layer runs on
# a machine. And the receptive field is what a unit *can* depend on: units usually weight its centre far more than
# its rim.
