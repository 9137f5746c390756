"""
Why do the maps of gradient, deconvnet and guided backpropagation differ?
=========================================================================

All three propagate backwards through the network. They differ only in the backward rule of the ReLU.
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
# The gradient passes where the input of the ReLU was positive in the forward pass. Deconvnet passes what is
# positive in the backward pass. Guided backpropagation requires both. The more is blocked, the cleaner the map:
# guided backpropagation keeps little more than outlines.
#
# What it does not mean
# ---------------------
#
# A clean map is not necessarily a faithful one. The numbers above are rank correlations between the maps before
# and after weights were replaced by random ones: near 0 for the gradient and near 1 for guided backpropagation,
# whose maps hardly depend on what the last layers have learnt. It is a good edge filter.
