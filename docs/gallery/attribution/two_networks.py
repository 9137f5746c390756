"""
Do two networks look at the same pixels?
========================================

`vgg-shapes-shortcut` was trained on images in which nearly all hearts stand on a net. For images in which the other
shapes stand on a net instead, the maps show where each network sees a heart.
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
# In the first network the evidence for *heart* lies on the net around the object; in the second there is hardly
# any, except where there is a heart. The table says the same in numbers: on these images the accuracy of the first
# network is nearly zero.
#
# What they do not mean
# ---------------------
#
# That the maps differ does not say which network is right; the labels do. And without images in which net and heart
# come apart the accuracy would not have told: on images like those of its training the first network is about as
# accurate as the second. Similar maps would not have been a proof of the same reasons either.
