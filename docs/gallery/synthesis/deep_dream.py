"""
What does a layer see in a photograph?
======================================

DeepDream changes a photograph so that a layer responds more, from small sizes to large ones. The network has seen
nothing but drawn shapes.
"""

import probe

model = probe.load("vgg-shapes")
early = probe.run("dream", model, image="flower.jpg", layers="features.2", size=320)
early["DeepDream of features.2"]

# %%
late = probe.run("dream", model, image="flower.jpg", layers="features.16", size=320)
late["DeepDream of features.16"]

# %%
for result in (early, late):
    for number in result.numbers.values():
        print(f"{number.label}: {number}")

# %%
# What the pictures mean
# ----------------------
#
# Wherever the picture gives an occasion, what the layer responds to is drawn stronger. For the early layer that is
# contrast: edges become hard and colours saturate. The later one fills flat regions with curves that look like
# leaves. The numbers say how much stronger the layer responds, and how far the pixels were moved for it.
#
# What they do not mean
# ---------------------
#
# The network does not see these patterns in the flower: they were put there until it did. They show what a layer
# responds to *together with* the picture, the step size and the octaves; a stronger layer is not a more important
# one.
