"""
Which images are similar in feature space?
==========================================

Neighbours in the features of a layer are the images that the layer represents similarly; neighbours in the
pixels are the control.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=300)
result = probe.run("neighbours", model, images, examples=5)
result["Images with their nearest neighbours"]

# %%
result["Neighbours of the same class by layer"]

# %%
# What the pictures mean
# ----------------------
#
# Neighbours in the pixels share colours and background, neighbours in the last features share the shape. The
# bars show where this changes: in early layers, neighbours are of the same class no more often than by chance,
# in the last layer nearly always.
#
# What they do not mean
# ---------------------
#
# Neighbours of the same class do not mean that everything else is lost: colours and positions may still be in
# the features, in directions that contribute little to distances. And these are the nearest images of the
# sample; a larger sample would contain nearer ones.
