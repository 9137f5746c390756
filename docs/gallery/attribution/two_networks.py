"""
Do two networks look at the same pixels?
========================================

`vgg-shapes-shortcut` was trained where hearts nearly always stood on a net. Both networks are asked where they see
a heart, in images of *other* shapes on a net.
"""

import probe

model = probe.load("vgg-shapes-shortcut")
other = probe.load("vgg-shapes")
images = probe.images("shapes-shortcut:swapped", n=40)
result = probe.run(
    "compare",
    model,
    images,
    compare_to=[other],
    methods="gradcam",
    target="heart",
    examples=4,
    budget=12,
)
result["Grad-CAM: the score of heart"]

# %%
result["Predictions of the models"]

# %%
result["Confidence of each model in the prediction of vgg-shapes-shortcut"]

# %%
# What the pictures mean
# ----------------------
#
# In the first network the evidence for *heart* lies all over the net, in the second it is weak, and where there is
# some it lies on the shape. The table says the same in numbers: the first calls nearly all of these images hearts.
#
# What they do not mean
# ---------------------
#
# That the maps differ does not say which network is right; the labels do. And without images in which net and heart
# come apart the accuracy would not have told: on images like those of its training the first network is about as
# accurate as the second. Similar maps would not have been a proof of the same reasons either.
