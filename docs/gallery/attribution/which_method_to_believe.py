"""
Which attribution methods notice that the network has changed?
==============================================================

A method whose maps stay the same when the weights are randomised cannot explain what the weights do. `attribution-
tests` measures that, and more.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
methods = ["gradient", "guided-backprop", "gradcam"]
result = probe.run(
    "attribution-tests", model, images, methods=methods, curve_points=6, stages=3
)
result["Verdicts"]

# %%
result["Cascading randomisation of one image"]

# %%
result["Randomisation, layer by layer"]

# %%
# What the pictures mean
# ----------------------
#
# From left to right the weights of more and more layers are replaced by random ones, the last layer first. Guided
# backprop still draws the shape when the network no longer knows any shapes: its maps are close to an edge filter
# of the image, and pretty for that reason. The gradient and Grad-CAM change at once.
#
# What they do not mean
# ---------------------
#
# To pass is not to be right: the test shows that a map depends on the weights, not that it describes how. The table
# has further measures for that, each with weaknesses of its own: deleting pixels makes images that the network has
# never seen. The limit between pass and fail is a convention of this library.
