"""
Which attribution method can I believe?
=======================================

Every attribution method gives a picture, and most of the pictures are plausible. A map that shows the object need not
show what the network used: an edge detector shows the object too, and it has never seen the network. This page tests
four methods on ``vgg-shapes``, for which the position of the object is known exactly.
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
# The gradient of the score of the true class is noise to the eye, somewhat denser near the object.

maps = probe.attribution.GuidedBackprop()(model, pixels, labels)
probe.grid(pixels, maps, title="Guided backpropagation")

# %%
# Guided backpropagation makes the sharpest picture by far. If pictures were judged by looking, it would win.

maps = probe.attribution.GradCAM()(model, pixels, labels)
probe.grid(pixels, maps, title="Grad-CAM")

# %%
# Grad-CAM is a blurred patch on the object.
#
# Randomise the network
# ---------------------
#
# The first test asks whether a map depends on what the network has learnt. Replace the weights of the last layer by
# random ones: the network now knows nothing of classes, and a faithful map of a class score has to change. Then replace
# half of the layers. The similarity is the rank correlation with the maps of the trained network (Adebayo et al. 2018).

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
# The maps of guided backpropagation hardly notice. What it shows are edges of the image that the first layers pass on,
# for whichever class. The others lose their similarity, as they should.

for name in ("gradient", "guided_backprop", "integrated_gradients", "gradcam"):
    number = tests.numbers[f"similarity_last_randomised_{name}"]
    print(f"{number.label}: {number}")

# %%
# Take the pixels away
# --------------------
#
# The second test asks whether the pixels that a map ranks highest matter to the score. Delete them in this order, and
# the confidence should fall early; insert them into an empty image, and it should rise early (Petsiuk et al. 2018).

tests["Deletion of pixels"]

# %%
# The dashed curves are the control: edges of the image, and a random order, neither of which depends on the network.
# Passing this test alone means little, since on images with one object in front of a texture the edges of the object
# are a good guess. Guided backpropagation passes it.
#
# Does it point at the object?
# ----------------------------
#
# The third test counts how often the highest pixel lies in the box of the object. It needs masks, which drawn shapes
# have. Again a method may pass for the wrong reason: it is the network that is supposed to look at the object, and the
# map is supposed to say so if it does not. :doc:`planted_shortcut` has a network that does not.

for name in ("gradient", "guided_backprop", "integrated_gradients", "gradcam"):
    number = tests.numbers[f"pointing_accuracy_{name}"]
    print(f"{number.label}: {number}")

# %%
# The verdicts together
# ---------------------

tests["Verdicts"]

# %%
# The answer
# ----------
#
# Believe a method that passes every test *on your model*: the verdicts depend on the network, and a method that passes
# here may fail on another. Grad-CAM is coarse, one value for each place of the last feature map, and says where rather
# than which pixels. The gradient and integrated gradients are fine and noisy. Use guided backpropagation to see what
# the edges are, and do not call it a reason.
#
# None of the tests proves that a map is right. They are ways to find out that it is wrong.
