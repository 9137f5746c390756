"""
How much accuracy does one gradient step cost?
==============================================

The fast gradient sign method changes every pixel by *eps*, in the direction of the sign of the gradient of the
loss. Random signs of the same size are the control.
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
# The accuracy decreases with eps, while random signs of the same size do not change it: what matters is the
# direction of the change, not its size. People can hardly distinguish the attacked images from the originals;
# the change between them is shown enlarged.
#
# What they do not mean
# ---------------------
#
# This is the weakest gradient attack, so the curve is an *upper* bound of the accuracy under attack: a network
# that withstands it may fail under an attack of ten steps (:doc:`/auto_gallery/adversarial/robustness`). A flat
# curve may also mean that the gradient is masked; the analysis checks this and warns.
