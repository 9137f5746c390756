"""
Which channels does the score of a class pass through?
======================================================

Layer conductance distributes the score of a class over the channels of a layer, as integrated gradients
distribute it over the pixels.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=60)
result = probe.run("conductance", model, images, examples=3, steps=64)
result[result.titles[0]]

# %%
result["Concentration of the conductance"]

# %%
result["Conductance by layer"]

# %%
# What the pictures mean
# ----------------------
#
# Each row shows an image and the five channels of the last convolution that contribute most to the score: red
# areas raise it, blue areas lower it. The curves show how many channels share the score: the steeper the curve,
# the fewer they are.
#
# What they do not mean
# ---------------------
#
# A channel that contributes much is not a detector of this class: it may serve several classes, and what it
# responds to is a different question (:doc:`/auto_gallery/units/top_patches`). The contributions depend on the
# baseline, here a black image. And if a channel is removed, the score need not fall by its contribution,
# because the layers after it are not linear.
