"""
Which attribution method can I believe?
=======================================

Every attribution method produces a map, and most maps look plausible. But a map that shows the object does not
necessarily show what the network used: an edge detector also shows the object, without any network. This page tests
four methods on ``vgg-shapes``, for which the positions of the objects are known exactly.
"""

# sphinx_gallery_thumbnail_number = 2
import probe

model = probe.load("vgg-shapes", device="cpu")
images = probe.images("shapes:test", n=40)
few = images.take(3, seed=1)
pixels, labels = few.pixels(), few.labels
maps = probe.attribution.Gradient()(model, pixels, labels)
probe.grid(pixels, maps, title="Gradient")

# %%
# The gradient of the score of the true class looks like noise that is somewhat stronger near the object.

maps = probe.attribution.GuidedBackprop()(model, pixels, labels)
probe.grid(pixels, maps, title="Guided backpropagation")

# %%
# Guided backpropagation produces by far the sharpest maps. If maps were judged by their looks, it would win.

maps = probe.attribution.GradCAM()(model, pixels, labels)
probe.grid(pixels, maps, title="Grad-CAM")

# %%
# Grad-CAM produces a blurred patch on the object.
#
# Randomise the network
# ---------------------
#
# The first test asks whether a map depends on what the network has learnt. If the weights of the last layer are
# replaced by random ones, the network knows nothing about classes any more, and a faithful map of the score of a
# class has to change. Then the weights of half of the layers are replaced. The similarity is the rank correlation
# with the maps of the trained network (Adebayo et al. 2018).

methods = "gradient,guided-backprop,integrated-gradients(steps=16),gradcam"
tests = probe.run(
    "attribution-tests",
    model,
    images,
    methods=methods,
    max_images=20,
    test_images=16,
    curve_points=6,
    stages=2,
)
tests["Randomisation, layer by layer"]

# %%
# The maps of guided backpropagation hardly change. They show edges that the first layers pass on, whatever the
# class. The maps of the other methods lose their similarity, as they should.

for name in ("gradient", "guided_backprop", "integrated_gradients", "gradcam"):
    number = tests.numbers[f"similarity_last_randomised_{name}"]
    print(f"{number.label}: {number}")

# %%
# Delete pixels
# -------------
#
# The second test asks whether the pixels that a map ranks highest matter to the score. If they are deleted in this
# order, the confidence should fall early; if they are inserted into an empty image, it should rise early (Petsiuk
# et al. 2018).

tests["Deletion of pixels"]

# %%
# Two curves are controls that do not depend on the network: edges of the image, and a random order. Passing this
# test alone means little, since the edges of the object are a good guess in images that show one object in front of
# a texture. Guided backpropagation passes it.
#
# Does it point at the object?
# ----------------------------
#
# The third test counts how often the maximum of a map lies in the box of the object. It needs masks, which drawn
# shapes have. Again, a method can pass for the wrong reason: it is the network that should use the object, and if
# it does not, the map should show that. :doc:`planted_shortcut` is about a network that does not.

for name in ("gradient", "guided_backprop", "integrated_gradients", "gradcam"):
    number = tests.numbers[f"pointing_accuracy_{name}"]
    print(f"{number.label}: {number}")

# %%
# All verdicts
# ------------

tests["Verdicts"]

# %%
# The answer
# ----------
#
# Use methods that pass every test *on your model*: the verdicts depend on the network, and a method that passes
# here may fail on another one. Grad-CAM is coarse, with one value for each position of the last feature map: it
# shows where the evidence is, not in which pixels. The gradient and integrated gradients are detailed and noisy.
# Guided backpropagation shows edges; do not take them for an explanation of the prediction.
#
# None of the tests proves that a map is right. They can only show that it is wrong.
