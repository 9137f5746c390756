"""
Do adversarial images of one network fool another?
==================================================

If they do, an attacker needs no access to the network: a similar network is sufficient.
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
# Rows are the networks that were attacked, columns the networks that classify the images. The diagonal is the
# usual success rate. What matters are the other cells, as far as they exceed the rate of random noise, which is
# part of the full result.
#
# What they do not mean
# ---------------------
#
# A low transfer rate is no protection: momentum, or attacks on several networks at once, make adversarial
# images transfer better, and some attacks need only a few hundred queries and no gradient. Both networks have
# the same architecture, which makes transfer more likely. And success is counted on images that *both* classify
# correctly, which are not the most difficult ones.
