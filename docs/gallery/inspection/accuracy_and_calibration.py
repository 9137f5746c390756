"""
Which classes does the network confuse, and can its confidence be trusted?
==========================================================================

The accuracy alone does not show which mistakes are made, nor with what confidence. `classify` shows both, with
95 % intervals.
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
# The accuracy against the confidence of the predictions:

result["Calibration"]

# %%
# The misclassified images, the most confident ones first:

result["Most confident misclassifications"]

# %%
# What the pictures mean
# ----------------------
#
# A cell off the diagonal is a confusion, and the caption names the most frequent one. Where the calibration
# curve lies above the dashed line, the network is correct more often than its confidence suggests; where it
# lies below, the network is overconfident. Look at the most confident misclassifications first: they are
# difficult images, wrong labels, or a class that the network has learnt wrongly.
#
# What they do not mean
# ---------------------
#
# The intervals apply to other images from the same source. They say nothing about photographs, another camera
# or a heart on another background: `vgg-shapes-shortcut` recognises nearly all hearts in images like those of its
# training, but for the wrong reason. A calibrated network may still be certain of images that show nothing
# (:doc:`/auto_gallery/adversarial/fooling_images`).
