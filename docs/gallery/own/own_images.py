"""
How are images from arrays analysed?
====================================

Arrays, tensors, Pillow images, a torch Dataset or a DataLoader: pixels in [0, 1], or bytes. Here digits are turned
upside down, and the labels kept.
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
# Values that are not pixels are refused, in one line:

try:
    probe.images(digits.images[:, None], labels=digits.target)
except probe.UserError as error:
    print(error)

# %%
# What the picture means
# ----------------------
#
# Digits that look the same upside down keep their class, a six becomes a nine, and the others go where their
# strokes lead. The images were brought to the input size of the network by the preprocessing on its card.
#
# What it does not mean
# ---------------------
#
# The network is not bad: it was never shown turned digits. Nor is a label that was kept still true: an upside-down
# six *is* a nine. An accuracy is always that of a network and of a labelling.
