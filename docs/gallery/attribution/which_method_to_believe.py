"""
Which attribution methods depend on the weights of the network?
===============================================================

If the maps of a method do not change when the weights are randomised, it cannot explain what the weights do.
This is one of the tests of `attribution-tests`.
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
# From left to right, the weights of more and more layers are replaced by random ones, starting from the last
# layer. Guided backpropagation still draws the outlines when the last layers know nothing about shapes any
# more: its maps are close to an edge filter of the image. The maps of the gradient and of Grad-CAM change at
# once.
#
# What they do not mean
# ---------------------
#
# A method that passes is not necessarily right: the test shows that its maps depend on the weights, not that
# they describe how the weights are used. The table contains further measures, each with weaknesses of its own:
# deleting pixels, for example, produces images unlike those of the training. The threshold between pass and
# fail is a convention of probe.
