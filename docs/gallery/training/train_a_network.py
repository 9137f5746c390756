"""
How is a network trained and evaluated?
=======================================

A LeNet-5 is trained on handwritten digits, in a few seconds on one core. The result is a folder that every
command and function accepts.
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
# Misclassifications among images that were not used for training:

result = probe.run("classify", model, probe.images("digits:test"))
result["Confusion matrix"]

# %%
result["Most confident misclassifications"]

# %%
# What the pictures mean
# ----------------------
#
# The loss falls steeply at first; at the end it only varies from batch to batch. Many of the remaining
# misclassifications are digits that people would also find ambiguous.
#
# What they do not mean
# ---------------------
#
# This is one training: another seed gives other misclassifications. The learning rate decays to zero, so a flat
# curve at the end does not show that the training has converged. And the accuracy on digits of another data set
# may be different.
