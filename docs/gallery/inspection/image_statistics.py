"""
What do the images look like, as statistics?
============================================

Before blaming the network, it helps to know the data: colours, correlations between pixels, and how the power falls
with spatial frequency.
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
# If the mean images of the classes showed their objects, a template would do for a classifier. Here they hardly
# differ: position, colour and background vary. The power falls along a straight line on logarithmic axes, as it
# does for photographs, only steeper: drawn shapes are smoother.
#
# What they do not mean
# ---------------------
#
# Statistics of first and second order do not see shapes: images with the same spectrum and other phases would have
# the same curves and show nothing. That two data sets agree here does not mean that a network transfers from one to
# the other.
