"""
Which image maximises the score of a class?
===========================================

The optimisation starts from the mean image of the data and increases the score of a class. Small random
transforms prevent results that depend on single pixels.
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
# Each optimised image has a higher score for its class than any image of the data, and keeps its confidence
# when it is shifted, rotated and zoomed. What repeats in the images (the points of stars, the lobes of hearts,
# rings, the tips of arrows) is sufficient for the class.
#
# What they do not mean
# ---------------------
#
# They show neither what the class looks like, nor everything that the network uses: `vgg-shapes-shortcut`
# recognises hearts by a net in the background, yet its optimised heart has curved outlines. Other transforms,
# starting images or numbers of steps give different images with similar scores.
