"""
Which unrecognisable images does the network classify with high confidence?
===========================================================================

The opposite of an adversarial image: not a small change with a large effect, but an image that shows nothing and
gets a high confidence.
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
# Every column is one class. The first row starts from an image of another class, the second from noise, the third
# is made of smooth waves. The confidence below each is that of a network which is well calibrated on its own kind
# of images (:doc:`/auto_gallery/inspection/accuracy_and_calibration`).
#
# What it does not mean
# ---------------------
#
# It does not mean that the network believes to see a star in the noise: a softmax divides all its probability among
# the classes it has, and none of them is *nothing*. Nor are such images found by chance: they were optimised. But
# it does mean that a threshold on the confidence does not keep nonsense out.
