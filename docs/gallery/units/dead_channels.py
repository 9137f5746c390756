"""
How active are the layers, and which channels are dead?
=======================================================

A ReLU that is never above zero passes no gradient and computes nothing. `activations` counts such channels on a
sample of images and shows the maps of the channels with the largest activations.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
result = probe.run(
    "activations", model, images, layers=["features.2", "features.16"]
)
result["Maps of features.2"]

# %%
result["Maps of features.16"]

# %%
result["Zeros and dead channels over depth"]

# %%
# What the pictures mean
# ----------------------
#
# Early maps still resemble the image, with edges of one orientation or another; later maps are smaller and
# mostly zero, with a few bright spots at parts of the shape. Sparse activations are normal in a network with
# ReLUs.
#
# What they do not mean
# ---------------------
#
# A dead channel is dead *on these images*: it may respond to something that the sample does not contain. Zeros
# are not wasted: which units are zero distinguishes one input from another. And the channel with the largest
# activations is not the most important one, since the weights of the next layer can compensate for its scale.
