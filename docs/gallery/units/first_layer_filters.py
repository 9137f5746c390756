"""
What are the filters of the first layer tuned to?
=================================================

The first layer sees pixels, so its filters can be looked at as images, and measured as a physiologist measures a
cell: with gratings of every orientation and frequency.
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
# Edges of several orientations, and blobs of colour: what networks that are trained on photographs have as well,
# here learned from drawings. A tuned channel responds to one orientation and hardly to the others.
#
# What they do not mean
# ---------------------
#
# That a filter looks like an edge detector does not say that the network uses edges: the weights of the next layer
# decide that. With filters of 3 x 3 pixels, as in a ResNet for CIFAR, the fits would say nothing, and the analysis
# warns of it: every such kernel resembles some Gabor function.
