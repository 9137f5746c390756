"""
Where in the network does an attack take effect?
================================================

An adversarial perturbation is small in the pixels and large in the logits. `attack-path` follows it from layer
to layer, and compares it with random noise of the same norm.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=24)
result = probe.run("attack-path", model, images)
result["Activation shift by layer"]

# %%
result["Nearest class mean by layer"]

# %%
result["Spatial frequencies of the perturbation"]

# %%
# What the pictures mean
# ----------------------
#
# The perturbation by the attack is amplified from layer to layer, noise of the same norm is not. Only in late
# layers are the attacked images nearer to the mean of another class. The perturbation has less energy at the
# highest frequencies than white noise, but far more than the images, so a mild blur removes part of it.
#
# What they do not mean
# ---------------------
#
# The layer in which the nearest class changes is not the one that causes the misclassification: every layer
# amplifies the perturbation a little. Class means are a coarse summary of the activations in a layer. And other
# attacks need not use these frequencies: an attacker who knows that images are blurred includes the blur in the
# optimisation.
