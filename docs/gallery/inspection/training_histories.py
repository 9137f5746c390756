"""
What did skip connections change in training?
=============================================

Each pretrained folder holds the history of its training. Two 56-layer networks, with and without skip connections,
and a 20-layer one without.
"""

import probe

model = probe.load("plain56-cifar10")
others = [probe.load("plain20-cifar10"), probe.load("resnet56-cifar10")]
result = probe.run("training-history", model, compare_to=others)
result["Training loss"]

# %%
result["Test error during training"]

# %%
# What the pictures mean
# ----------------------
#
# The loss on the *training* images ends highest for the deep network without skip connections: it is not
# overfitted, it is harder to optimise. With skip connections the same depth trains fastest of the three.
#
# What they do not mean
# ---------------------
#
# These are single trainings of twelve epochs each, on a JPEG copy of CIFAR-10: another seed moves each curve,
# longer training raises all of them, and a learning rate that decays makes the last epochs look like a breakthrough
# for every network. Why skip connections help is not in these curves; :doc:`/auto_gallery/landscape/residual_paths`
# looks further.
