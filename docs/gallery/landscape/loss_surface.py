"""
What does the loss look like around the weights?
================================================

Two random directions in the space of the weights, each filter scaled to the norm of the weights, and the loss
at every point of the plane.
"""

import probe

model = probe.load("lenet5-digits")
images = probe.images("digits:test", n=200)
result = probe.run("surface", model, images, x="-1:1:21", y="-1:1:21")
result["Loss surface"]

# %%
result["Accuracy surface"]

# %%
for number in result.numbers.values():
    print(f"{number.label}: {number}")

# %%
# What the pictures mean
# ----------------------
#
# The trained weights are at the centre, at the bottom of a bowl, and the accuracy is high in a wide region
# around them. With filter normalisation, a step of 1 has the norm of the weights themselves, whatever their
# scale.
#
# What they do not mean
# ---------------------
#
# A plane shows two of many thousand dimensions: a surface that is convex here may have negative curvature in
# other directions (:doc:`/auto_gallery/landscape/curvature`). A wide bowl does not prove good generalisation,
# and the bowls of two networks can only be compared with the same normalisation, images and scale. This is the
# loss on test images, not the one that was minimised in training.
