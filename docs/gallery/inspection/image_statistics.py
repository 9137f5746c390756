"""
What are the statistics of the images?
======================================

Before blaming the network, look at the data: colours, correlations between pixels, and the decrease of the
power with spatial frequency.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
result = probe.run("image-statistics", model, images)
print(
    *(f"{number.label}: {number}" for number in result.numbers.values()), sep="\n"
)
result["Mean images"]

# %%
result["Power spectrum"]

# %%
# What the pictures mean
# ----------------------
#
# If the mean images of the classes showed their objects, a template would be sufficient to classify them. Here
# they hardly differ, because position, colour and background vary. On logarithmic axes, the power decreases
# along a straight line, as it does for photographs, but more steeply: drawn shapes are smoother.
#
# What they do not mean
# ---------------------
#
# First- and second-order statistics do not capture shapes: images with the same spectrum and random phases
# would have the same curves and show nothing. If two data sets have the same statistics, a network that was
# trained on one need not work on the other.
