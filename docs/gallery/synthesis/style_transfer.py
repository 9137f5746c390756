"""
What do layers preserve of the style of a picture?
==================================================

Style transfer (Gatys et al.) combines the features of one picture with the correlations between channels of
another one, here by a network that was trained on drawn shapes only.
"""

import probe

model = probe.load("vgg-shapes")
result = probe.run(
    "style",
    model,
    content="china.jpg",
    style="flower.jpg",
    size=256,
    steps=30,
    style_weight=500,
)
result["Style transfer"]

# %%
result["Style loss of each layer"]

# %%
# What the pictures mean
# ----------------------
#
# The pavilion stays in place, while colours and small textures come from the flower. The chart shows for each
# layer how much of the difference in style remains.
#
# What they do not mean
# ---------------------
#
# Style is defined by Gram matrices here, that is, as colours and textures without positions. That is not what a
# painter would call style, and a network that was trained on photographs would provide richer textures. The
# weight of style against content is a matter of taste, and losses at different weights cannot be compared.
