"""
What does a layer keep of a picture's style?
============================================

Keep the features of one picture and the correlations between channels of another: Gatys' style transfer, here with
a network that has seen drawn shapes alone.
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
# The pavilion stays where it is, while colours and small textures come from the flower. The chart says how much of
# the difference in style is left in each layer.
#
# What they do not mean
# ---------------------
#
# Style is defined by the Gram matrices here: colours and textures without their places. It is not what a painter
# would call style, and a network that was trained on photographs has richer textures to offer. The weight between
# content and style is a matter of taste, and the numbers of one weight cannot be compared with those of another.
