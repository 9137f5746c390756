"""
Where are the parameters, and where does the time go?
=====================================================

`architecture` needs no images: it traces the network once and counts parameters, multiply-accumulates (MACs)
and receptive fields exactly.
"""

import probe

model = probe.load("resnet20-cifar10")
result = probe.run("architecture", model)
result["Parameters and MACs by kind of layer"]

# %%
result["Receptive fields"]

# %%
# The five layers with the most MACs:

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
# Convolutions hold nearly all parameters and take nearly all of the computation. Early layers have few weights
# and large maps, late layers many weights and small maps, so parameters and MACs are in different places. Where
# the receptive field exceeds the image, a unit in the middle of a map can depend on every pixel.
#
# What they do not mean
# ---------------------
#
# MACs are not seconds: the speed of a layer also depends on the size of its maps, on memory traffic and on the
# library. And the receptive field contains the pixels on which a unit *can* depend; most units depend far more
# on its centre than on its edges.
