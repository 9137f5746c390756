"""
How much accuracy does one gradient step cost?
==============================================

The fast gradient sign method changes every pixel by *eps*, along the sign of the gradient of the loss. Random signs
of the same size are the control.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=100)
result = probe.run("fgsm", model, images, eps="4/255", eps_steps=6)
result["Accuracy against eps"]

# %%
result["Attacked images"]

# %%
for number in result.numbers.values():
    print(f"{number.label}: {number}")

# %%
# What the pictures mean
# ----------------------
#
# The accuracy falls with eps, while random signs of the same size leave it as it is: what matters is the direction,
# not the amount of noise. To the eye the attacked images are the original ones; the change in the middle is
# enlarged.
#
# What they do not mean
# ---------------------
#
# This is the weakest of the gradient attacks, so the curve is an *upper* bound of the accuracy under attack: a
# network that withstands it may fall to ten steps (:doc:`/auto_gallery/adversarial/robustness`). A flat curve can
# also mean that the gradient is useless, which the analysis checks and warns of.
