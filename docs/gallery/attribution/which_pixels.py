"""
Which pixels does a prediction depend on?
=========================================

Two answers to the same question: the gradient of the score, integrated along a path, and class activation maps of
the last convolution.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=200)
methods = ["integrated-gradients(steps=32)", "gradcam"]
result = probe.run(
    "attribution", model, images, methods=methods, examples=3, budget=12
)
print(*(f"warning: {warning}" for warning in result.warnings), sep="\n")
result["Integrated gradients: the score of the predicted class"]

# %%
result["Grad-CAM: the score of the predicted class"]

# %%
result["Bounding boxes from Grad-CAM"]

# %%
# What the pictures mean
# ----------------------
#
# Red pixels raise the score of the predicted class, blue ones lower it. Integrated gradients divide a difference of
# scores among the pixels, fine and noisy; Grad-CAM is as coarse as the maps of the last convolution, and says where
# rather than what. The caption of the first states how far its maps are from adding up, that of the second how it
# did in the randomisation test: whether its maps change when the weights of the network do.
#
# What they do not mean
# ---------------------
#
# A map is not a segmentation: the box around the brightest region is compared with the true one to check the
# method, not the network. A red pixel need not be part of the object, and removing it may change nothing, since
# others carry the same evidence. Two methods that agree can be wrong together:
# :doc:`/auto_gallery/attribution/which_method_to_believe`.
