"""
How is a bare torchvision network analysed?
===========================================

Any `nn.Module` that maps images to logits becomes a model by `probe.wrap`. Mean and std must be stated, since a
wrong normalisation lowers the accuracy without any error.
"""

import torch
import torchvision

import probe

images = probe.images("shapes:test", n=60)
network = torchvision.models.squeezenet1_1(num_classes=10)
model = probe.wrap(
    network,
    shape=(3, 64, 64),
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
    classes=images.classes,
)
result = probe.run("filters", model, layers="features.0")
result["Filters of features.0"]

# %%
result = probe.run("classify", model, images)
print(result.numbers["accuracy"])
result["Confusion matrix"]

# %%
# The network itself is as it was: mode, hooks, gradients and buffers.

print(
    network.training,
    any(parameter.grad is not None for parameter in network.parameters()),
)
print(torch.equal(network.features[0].weight, model.network.features[0].weight))

# %%
# What the pictures mean
# ----------------------
#
# The weights are random, and the pictures say so: filters without structure, and predictions that do not depend on
# the class. It is what an untrained network, or a checkpoint that was loaded wrongly, looks like.
#
# What they do not mean
# ---------------------
#
# Noisy filters alone do not prove a mistake: small kernels of trained networks can look as noisy. The accuracy on
# labelled images is the check that counts.
