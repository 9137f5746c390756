"""
Which pixels does a prediction depend on?
=========================================

Two methods answer the same question: integrated gradients, which integrate the gradient of the score along a
path, and Grad-CAM, a class activation map of the last convolution.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
methods = ["integrated-gradients(steps=32)", "gradcam"]
result = probe.run(
    "attribution", model, images, methods=methods, examples=3, budget=20
)
result["Integrated gradients: the score of the predicted class"]

# %%
result["Grad-CAM: the score of the predicted class"]

# %%
result["Bounding boxes from Grad-CAM"]

# %%
# What the pictures mean
# ----------------------
#
# Red pixels raise the score of the predicted class, blue pixels lower it. Integrated gradients divide a
# difference of scores among the pixels; their maps are detailed and noisy. A map of Grad-CAM is as coarse as
# the maps of the last convolution, and shows where the evidence is rather than what it is. The captions state
# the result of the randomisation test, that is, whether the maps change when the weights are randomised.
#
# What they do not mean
# ---------------------
#
# A map is not a segmentation: the box around its highest region is compared with the true box to evaluate the
# method, not the network. A red pixel need not belong to the object, and removing it may change nothing, since
# other pixels provide the same evidence. Two methods that agree can both be wrong:
# :doc:`/auto_gallery/attribution/which_method_to_believe`.
