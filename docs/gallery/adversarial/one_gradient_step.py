"""
How far does one gradient step fool the network?
================================================

The fast gradient sign method changes every pixel by at most *eps*, along the sign of the gradient of the loss. How
much accuracy is left, and how much of the loss would noise of the same size have caused?
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
result = probe.run("fgsm", model, images, eps="4/255", eps_steps=6)
result

# %%
# What the picture means
# ----------------------
#
# The accuracy falls with eps, while noise of the same size leaves it nearly unchanged.
