"""
Which classes does the network confuse, and can its confidence be trusted?
==========================================================================

One number, the accuracy, hides which mistakes are made and with what confidence. `classify` shows both, with
intervals.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test")
result = probe.run("classify", model, images)
print(
    *(f"{number.label}: {number}" for number in result.numbers.values()), sep="\n"
)

# %%
# Rows are true classes, columns are predictions:

result["Confusion matrix"]

# %%
# The accuracy of the predictions of each confidence, beside that confidence:

result["Calibration"]

# %%
# And the mistakes themselves, the most confident ones first:

result["Most confident misclassifications"]

# %%
# What the pictures mean
# ----------------------
#
# A cell off the diagonal is a confusion, and the caption names the most frequent one. Where the curve of the
# calibration lies above the dashed line the network is right more often than its confidence says; below it, it is
# overconfident. The most confident mistakes are worth looking at first: they are hard images, wrong labels, or a
# class that the network has learned wrongly.
#
# What they do not mean
# ---------------------
#
# The intervals are about drawing other images from the same source. They say nothing about photographs, another
# camera or a drawn heart on another background: `vgg-shapes-shortcut` is as accurate on its own kind of images as
# this network, for a wrong reason. A calibrated network may still be certain of images that show nothing
# (:doc:`/auto_gallery/adversarial/fooling_images`).
