"""
Do adversarial images of one network fool another one?
======================================================

If they do, an attacker needs no access to the network: any similar one will serve.
"""

import probe

model = probe.load("vgg-shapes")
other = probe.load("vgg-shapes-shortcut")
images = probe.images("shapes:test", n=50)
attacks = ["noise", "fgsm", "pgd(steps=10)"]
result = probe.run(
    "transferability", model, images, compare_to=[other], attacks=attacks
)
result["PGD: success rates between models"]

# %%
result["FGSM: success rates between models"]

# %%
result["Models"]

# %%
# What the pictures mean
# ----------------------
#
# Rows are the network that was attacked, columns the network that sees the images. The diagonal is the usual
# success rate. What matters is off the diagonal, and only as far as it exceeds the rate of random noise, which the
# full result shows as well.
#
# What they do not mean
# ---------------------
#
# A low transfer rate is no protection: attacks can be made to transfer, with momentum or against several networks
# at once, and a few hundred queries replace the gradient. Both networks here have the same architecture, which
# makes transfer more likely than between strangers; and success is counted on images that *both* classify
# correctly, which are not the hardest.
