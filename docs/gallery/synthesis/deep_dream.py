"""
What does a layer respond to in a photograph?
=============================================

DeepDream changes a photograph so that a layer responds more strongly, at several sizes from small to large. The
network was trained on nothing but drawn shapes.
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
# What the layer responds to is amplified wherever the picture contains a trace of it. For the early layer this
# is contrast: edges become hard and colours saturated. The later layer fills flat regions with curves that look
# like leaves. The numbers state how much stronger the response becomes, and how much the pixels change.
#
# What they do not mean
# ---------------------
#
# The network does not see these patterns in the original photograph; they were added to it. They show what a
# layer responds to *in combination with* the picture, the step size and the number of sizes. A stronger
# response does not make a layer more important.
