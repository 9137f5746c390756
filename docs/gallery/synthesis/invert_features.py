"""
What do the features of a layer still contain of an image?
==========================================================

Starting from noise, an image is optimised until its features in a layer equal those of the original. What
reappears is what the layer has preserved.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
result = probe.run("invert", model, images, n_layers=4, max_images=2, steps=100)
result["Images from the features of each layer"]

# %%
result["PSNR against depth"]

# %%
# What the pictures mean
# ----------------------
#
# The first layer preserves nearly the whole image. In deeper layers, first the colours are lost, then the
# edges. The inversion from the deepest layer is hardly recognisable to people, although the network predicts
# the same class for it as for the image.
#
# What they do not mean
# ---------------------
#
# What an inversion lacks is not necessarily lost: the optimisation may have stopped early, and the regulariser
# prefers smooth images. The table of the full result therefore contains the remaining error of the features.
# Conversely, some of what an inversion shows may come from the regulariser.
