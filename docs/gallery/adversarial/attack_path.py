"""
Where in the network does an attack take effect?
================================================

An adversarial change is small in the pixels and large in the logits. `attack-path` follows it layer by layer,
beside random noise of the same norm.
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
# The attack is amplified from layer to layer, noise of the same size is not. Only in late layers are the attacked
# images nearer to the mean of another class. The perturbation has less energy at the highest frequencies than white
# noise has, but far more than the images: a mild blur removes part of it.
#
# What they do not mean
# ---------------------
#
# The layer in which the nearest class changes is not the layer that is to blame: each one passes on a little more
# than it got. Class means are a coarse summary of a layer. And that this attack has these frequencies does not mean
# that every attack needs them: an attacker who knows of a blur optimises through it.
