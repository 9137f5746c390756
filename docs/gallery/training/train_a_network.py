"""
How does a training go, and what did the network learn?
=======================================================

A LeNet-5 on handwritten digits, in a few seconds on one core. The result is a folder that every command and
function takes.
"""

import tempfile

import probe

with tempfile.TemporaryDirectory() as folder:
    model = probe.train(
        "lenet5", "digits", out=f"{folder}/mylenet", epochs=12, quiet=True
    )
    history = probe.run("training-history", model)
history["Training loss"]

# %%
# Where it is wrong, on images that it has not seen:

result = probe.run("classify", model, probe.images("digits:test"))
result["Confusion matrix"]

# %%
result["Most confident misclassifications"]

# %%
# What the pictures mean
# ----------------------
#
# The loss falls steeply at first, and in the end differs from step to step by no more than batches do. Many of the
# mistakes that are left are digits that people would hesitate at as well.
#
# What they do not mean
# ---------------------
#
# One training is one sample: another seed gives other mistakes. The learning rate decays to zero at the end of the
# schedule, so that a flat end says little about whether the training has converged. And nothing here says how the
# network does on digits of another data set.
