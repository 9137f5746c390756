"""
Which images does the network take for similar?
===============================================

Neighbours in the features of a layer show what the layer calls similar; neighbours in the pixels are the control.
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
# In the pixels the neighbours share colours and background; in the last features they share the shape. The bars
# show where that happens: early layers hardly order by class, the last one nearly always.
#
# What they do not mean
# ---------------------
#
# The same class nearby does not mean that nothing else is kept: colours and positions may still be in the features,
# in directions that distances hardly see. And neighbours in the sample are not all neighbours: with more images
# others would be nearer.
