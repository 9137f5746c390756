"""
Is this network robust?
=======================

Several attacks, checks for gradient masking, and further attacks on the images that survive. The budget is
given in minutes; a few seconds are enough for LeNet-5.
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
# Each curve is one attack. The lowest one, the strongest attack on each image, is what counts. The checks show
# whether gradient attacks work on this network: if one failed, the accuracies under attack could be too high.
#
# What they do not mean
# ---------------------
#
# The robust accuracy is *at most* what is shown: an attack that was not tried may lower it. It holds for this
# norm and radius only: a network that withstands small changes of every pixel may be fooled by a rotation or by
# a sticker. And attacks on 8 x 8 digits say little about photographs.
