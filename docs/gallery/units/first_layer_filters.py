"""
What are the filters of the first layer tuned to?
=================================================

The filters of the first layer operate on pixels, so they can be displayed as images, and measured as
physiologists measure neurons: with gratings of all orientations and frequencies.
"""

import probe

model = probe.load("vgg-shapes")
filters = probe.run("filters", model, layers="features.0")
filters["Filters of features.0"]

# %%
# Responses to gratings, and the Gabor functions that describe the kernels best:

tuning = probe.run("tuning-curves", model, probe.images("photos"))
tuning["Orientation tuning"]

# %%
tuning["Kernels and their Gabor fits"]

# %%
# What the pictures mean
# ----------------------
#
# Edges of several orientations and blobs of colour: networks that were trained on photographs have such filters
# too; this one learnt them from drawings. A tuned channel responds most to one orientation, and less than half
# as strongly to the perpendicular one. The peaks are about as broad as that of Sobel's operator.
#
# What they do not mean
# ---------------------
#
# A filter that looks like an edge detector does not prove that the network uses edges: that depends on the
# weights of the next layer. For filters of 3 x 3 pixels, as in a ResNet for CIFAR, the fits mean nothing,
# because every such kernel resembles some Gabor function, and the analysis warns of this.
