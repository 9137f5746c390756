"""
Is this network robust?
=======================

Several attacks, checks for gradient masking, and further attacks on the images that survive. The budget is stated in
minutes; for LeNet-5, a few seconds are enough.
"""

import probe

model = probe.load("lenet5-digits")
images = probe.images("digits:test")
result = probe.run("robustness", model, images, eps="32/255", minutes=0.1)
result["Accuracy against the size of the perturbation"]

# %%
result["Checks for gradient masking"]

# %%
result["The least robust images"]

# %%
# What the pictures mean
# ----------------------
#
# Each curve is one attack; the lowest line, the strongest attack on each image, is what counts. The table of checks
# tells whether the gradient can be trusted, which every gradient attack presupposes: a check that fails would mean
# that the curves are too high.
#
# What they do not mean
# ---------------------
#
# Robust accuracy is always *at most* what is shown: the attack that was not tried may do better. It holds for this
# radius and this norm: a network that resists small changes of every pixel may fall to a rotation, or to one
# sticker. And attacks on 8 x 8 digits say little about photographs.
