"""
Which unrecognisable images are classified with high confidence?
================================================================

Fooling images are the opposite of adversarial images: not a small change with a large effect, but an image that
shows nothing and is classified with high confidence.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=100)
result = probe.run("fooling-images", model, images)
result["Images that the network classifies with high confidence"]

# %%
for number in result.numbers.values():
    print(f"{number.label}: {number}")

# %%
# What the picture means
# ----------------------
#
# Each column is a class. The first row starts from an image of another class, the second from noise, and the
# third consists of smooth patterns. The number below each image is its confidence, given by a network that is
# well calibrated on images like those of its training
# (:doc:`/auto_gallery/inspection/accuracy_and_calibration`).
#
# What it does not mean
# ---------------------
#
# It does not mean that the network sees a star in the noise: a softmax distributes all probability among its
# classes, and none of them stands for *nothing*. Nor do such images occur by chance: they were optimised. But
# it does mean that a threshold on the confidence cannot reject meaningless images.
