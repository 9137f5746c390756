"""
Do two networks depend on the same pixels?
==========================================

`vgg-shapes-shortcut` was trained on images in which nearly all hearts have a net behind them. In the images below,
the other shapes have the net instead, and the maps show where each network sees evidence for a heart.
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
# In the first network, the evidence for *heart* lies on the net around the object; in the second there is
# hardly any, except where there is a heart. The table confirms this: on these images the accuracy of the first
# network is close to zero.
#
# What they do not mean
# ---------------------
#
# Different maps do not show which network is correct; the labels do. And without images in which net and heart
# are separated, the accuracy would not have shown the problem: on images like those of its training, the first
# network recognises nearly all hearts. Similar maps would not have proved that both networks use the same features
# either.
