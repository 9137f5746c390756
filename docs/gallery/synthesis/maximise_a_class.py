"""
Which image does the network like most for a class?
===================================================

Start from the mean image of the data and climb the score of a class, with small random transforms so that the
result does not depend on single pixels.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
result = probe.run(
    "maximise", model, images, units=["star", "heart", "ring", "arrow"]
)
result["Images that maximise each class"]

# %%
result["Images of the data with the largest values"]

# %%
result["Objective over the steps"]

# %%
# What the pictures mean
# ----------------------
#
# The optimised images exceed every image of the data in the score of their class, and keep their confidence when
# they are shifted and turned. What repeats in them (points, lobes, curves) is what suffices for the class.
#
# What they do not mean
# ---------------------
#
# They do not show what the class looks like, nor all that the network uses: `vgg-shapes-shortcut` recognises hearts
# by a net in the background, and its optimised heart has curves all the same. Other transforms, start images or
# step numbers give other images with the same score.
