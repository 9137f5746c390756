"""
How do I analyse a torchvision network?
=======================================

`probe.wrap` makes a model of any `nn.Module` that maps images to logits. Mean and standard deviation have no
default, because a wrong normalisation lowers the accuracy without raising an error.
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
# `wrap` leaves the network unchanged: its mode, hooks, gradients and buffers.

print(
    network.training,
    any(parameter.grad is not None for parameter in network.parameters()),
)
print(torch.equal(network.features[0].weight, model.network.features[0].weight))

# %%
# What the pictures mean
# ----------------------
#
# The weights are random, and the pictures show it: the filters have no structure, and the predictions do not
# depend on the class. A checkpoint that was loaded incorrectly looks the same.
#
# What they do not mean
# ---------------------
#
# Noisy filters alone do not prove that something is wrong: the small kernels of trained networks can look just
# as noisy. The accuracy on labelled images is the decisive check.
