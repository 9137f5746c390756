"""
What do the features of a layer still tell of an image?
=======================================================

Look for an image, starting from noise, that has the same features as the original. What comes back is what the
layer has kept.
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
# From the first layer the image comes back nearly unchanged. With depth the colours go first, then the edges; from
# the deepest features there is little that people would recognise, while the network predicts the class that it
# predicts for the image.
#
# What they do not mean
# ---------------------
#
# What is missing in an inversion is not proved to be lost: the search may have stopped early, and the regulariser
# prefers smooth images. The table of the full result has the remaining error of the features for that. What is
# there may come from the regulariser too.
