"""
Which channels does the score of a class pass through?
======================================================

Layer conductance distributes the score of a class over the channels of a layer, as integrated gradients distribute
it over the pixels.
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
# Each row is an image and the channels of the last maps with the largest parts of its score: red places raise it,
# blue ones lower it. The curves say how many channels share the work: the steeper one rises, the fewer they are.
#
# What they do not mean
# ---------------------
#
# A channel with a large part is not a detector of that class: it may serve several, and what it responds to is
# another question (:doc:`/auto_gallery/units/top_patches`). The parts depend on the baseline, here a black image.
# And without a channel the score need not fall by its part, since the layers after it are not linear.
