"""
How active are the layers, and is anything dead?
================================================

A ReLU that is never above zero passes no gradient and computes nothing. `activations` counts them on a sample, and
shows the maps of the strongest channels.
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
# Early maps still look like the image, with edges in one orientation or another; late maps are small and mostly
# zero, with few bright spots where something was detected. Sparse activations are normal for a network of ReLUs.
#
# What they do not mean
# ---------------------
#
# Dead means dead *on these images*: a channel may wait for what the sample does not hold. Zeros are not waste, they
# are how a ReLU network tells inputs apart. And the brightest map is not the most important one: the scale of a
# channel is undone by the weights after it.
