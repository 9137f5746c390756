"""
What do skip connections change in training?
============================================

The folder of each pretrained model contains the history of its training. Here two networks of 56 layers, with
and without skip connections, are compared with one of 20 layers without.
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
# The loss on the *training* images remains highest for the deep network without skip connections: it does not
# overfit, it is harder to optimise. With skip connections, a network of the same depth reaches the lowest loss
# of the three.
#
# What they do not mean
# ---------------------
#
# These are single trainings of twelve epochs on a JPEG copy of CIFAR-10: another seed changes every curve,
# longer training improves every network, and the decay of the learning rate lowers the error in the last epochs
# of all of them. The curves do not show why skip connections help;
# :doc:`/auto_gallery/landscape/residual_paths` examines that.
