"""
What do deep layers discard?
============================

A classifier reduces an image to a class, so nearly everything else about the image is lost on the way. In which
layers? Feature inversion computes an image from the activations of a layer alone, starting from noise (Mahendran
and Vedaldi 2015). What reappears is still contained in the layer; what looks different is not distinguished by the
layer, or too weakly for the optimisation.
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
# From the first block the image reappears with its textures. In the middle the outlines are preserved, also those
# of the shapes in front, but most colours and textures of the background are lost. From the last block comes a grey
# relief in which the position of the shape can only be guessed, although the network predicts the same classes for
# these images as for the originals.
#
# How much is lost?
# -----------------
#
# The PSNR compares the inversion with the image pixel by pixel: 30 dB is a good copy, 10 dB is about the value of
# two unrelated images of the same brightness.

result["PSNR against depth"]

# %%
# The deepest layer has a higher PSNR than the middle one because a grey image differs less from the original than
# an image with wrong colours. A low PSNR can have two reasons: the layer does not contain the information, or the
# optimisation did not find it. The feature error distinguishes between them: it is 0 if the inversion has the same
# features as the image, and 1 if they have nothing in common.

for layer in ("features_2", "features_13", "features_23"):
    psnr, error = (
        result.numbers[f"psnr_{layer}"],
        result.numbers[f"feature_error_{layer}"],
    )
    print(f"{layer}: PSNR {psnr} dB, feature error {error}")

# %%
# The errors are a few percent at most: for the layer, these images are nearly the same as the originals. It does
# not distinguish what differs between them.
#
# And the classes?
# ----------------
#
# The opposite question is how well the class can be read from a layer. In deeper layers, more neighbours in feature
# space are of the same class, while those in pixel space are so only by chance.

neighbours = probe.run("neighbours", model, probe.images("shapes:test", n=300))
keys = [key for key in neighbours.numbers if key.startswith("same_class")]
for key in (keys[0], keys[-1]):
    print(f"{neighbours.numbers[key].label}: {neighbours.numbers[key]}")

neighbours.exhibits[0]

# %%
# The answer
# ----------
#
# What is lost with depth does not change the class: first colours and the textures of the background, then
# everything but the approximate positions of edges. This is desirable in a network that recognises shapes, and
# worth checking for a network of your own: :doc:`planted_shortcut` is about a network that preserved the texture
# and lost the shape.
#
# An inversion is only one of many images with these features. Inversions from different random starts differ in
# what the features leave undetermined, which is the column *spread* of the table.

result["Inversions by layer"]
