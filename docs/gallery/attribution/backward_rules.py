"""
Why do gradient, deconvnet and guided backprop look so different?
=================================================================

All three run the network backwards. They differ only in the backward rule of the ReLU.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=100)
result = probe.run("backprop", model, images, examples=3)
result[result.titles[0]]

# %%
for number in result.numbers.values():
    print(f"{number.label}: {number}")

# %%
# What the picture means
# ----------------------
#
# The gradient passes where the ReLU was active in the forward pass; deconvnet passes what is positive in the
# backward pass; guided backprop demands both. The more is blocked, the cleaner the picture: guided backprop leaves
# the outlines.
#
# What it does not mean
# ---------------------
#
# Clean is not faithful. The numbers above are rank correlations of the maps before and after weights were replaced
# by random ones: near 0 for the gradient, near 1 for guided backprop, whose picture hardly depends on what the
# network has learned. It is a good edge filter.
