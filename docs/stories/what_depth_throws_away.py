"""
What did depth throw away?
==========================

A classifier turns an image into a class: nearly everything about the image has to go. Where does it go? Feature
inversion computes an image from the activations of a layer alone, starting from noise (Mahendran and Vedaldi 2015).
What comes back, the layer still knows; what looks different, it does not tell apart, or tells too weakly for the
search.
"""

import probe

model = probe.load("vgg-shapes", device="cpu")
images = probe.images("shapes:test", n=40)
layers = "features.2,features.13,features.23"
result = probe.run(
    "invert", model, images, layers=layers, max_images=3, restarts=2, steps=100
)
result["Images from the features of each layer"]

# %%
# From the first block the image comes back, texture and all. In the middle the outlines are there, also those of the parts
# that hide the shape, while the colours and the texture of the ground are gone. From the last block comes grey relief in which
# one guesses where the shape was, though the network gives these images the same class as the originals.
#
# How much is lost?
# -----------------
#
# The PSNR compares the inversion with the image, pixel by pixel; 30 dB is a good copy, 10 dB about what two unrelated
# images of the same brightness have.

result["PSNR against depth"]

# %%
# A low PSNR has two possible reasons: the layer does not hold the information, or the search did not find it. The
# feature error tells them apart. It is 0 where the inversion has the same features as the image, and 1 where it has
# none of them.

for layer in ("features_2", "features_13", "features_23"):
    psnr, error = (
        result.numbers[f"psnr_{layer}"],
        result.numbers[f"feature_error_{layer}"],
    )
    print(f"{layer}: PSNR {psnr} dB, feature error {error}")

# %%
# The errors are a few percent at most: for the layer these images are nearly the same as the originals. What differs
# between them is what it does not care about.
#
# And the classes?
# ----------------
#
# The same question from the other side: how well can the class be read from a layer? Neighbours in feature space are of
# the same class ever more often with depth, while neighbours in pixel space never were.

neighbours = probe.run("neighbours", model, probe.images("shapes:test", n=300))
keys = [key for key in neighbours.numbers if key.startswith("same_class")]
for key in (keys[0], keys[-1]):
    print(f"{neighbours.numbers[key].label}: {neighbours.numbers[key]}")

neighbours.exhibits[0]

# %%
# The answer
# ----------
#
# Depth threw away what does not change the class: colour and the texture of the ground first, then everything but the rough
# position of edges. That is what one would want of a network that names shapes, and it is worth a check on a network of
# your own: :doc:`planted_shortcut` is about one that kept the texture and threw away the shape.
#
# An inversion is one image of many with these features. Two random starts differ in what the features leave open, which
# the column *spread* of the table measures.

result["Inversions by layer"]
