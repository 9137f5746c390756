"""
What do the features of a layer still tell of an image?
=======================================================

Look for an image, starting from noise, that has the same features as the original. What comes back is what the
layer has kept.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=100)
result = probe.run("invert", model, images, n_layers=4, max_images=3, steps=50)
result["Images from the features of each layer"]

# %%
result["PSNR against depth"]

# %%
# What the pictures mean
# ----------------------
#
# After the first layers the image comes back nearly unchanged. With depth, colours and exact positions go first;
# the deepest features still give a shape of the right kind, and the network predicts the same class for it.
#
# What they do not mean
# ---------------------
#
# What is missing in an inversion is not proved to be lost: the search may have stopped early, and the regulariser
# prefers smooth images. The table of the full result has the remaining error of the features for that. What is
# there may come from the regulariser too.
