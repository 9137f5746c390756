"""
How do I use images from arrays?
================================

Arrays, tensors, Pillow images, a torch `Dataset` and a `DataLoader` are accepted, with pixels in [0, 1] or as
bytes. Here digits are rotated by 180 degrees, and their labels are kept.
"""

from sklearn.datasets import load_digits

import probe

digits = load_digits()
upright = digits.images[:, None] / 16  # (n, 1, 8, 8) in [0, 1]
turned = upright[:, :, ::-1, ::-1].copy()

images = probe.images(
    turned, labels=digits.target, classes=[str(digit) for digit in range(10)], n=300
)
images

# %%
model = probe.load("lenet5-digits")
result = probe.run("classify", model, images)
print(result.numbers["accuracy"])
result["Confusion matrix"]

# %%
# Values outside [0, 1] are refused, with an error of one line:

try:
    probe.images(digits.images[:, None], labels=digits.target)
except probe.UserError as error:
    print(error)

# %%
# What the picture means
# ----------------------
#
# Digits that look the same upside down keep their class, a six becomes a nine, and others are classified by
# what their strokes resemble. The preprocessing on the card of the model converts the images to its input size.
#
# What it does not mean
# ---------------------
#
# The network is not bad: it was not trained on rotated digits. And the original labels are no longer all
# correct, since an upside-down six *is* a nine. An accuracy always depends on the labels as well as on the
# network.
