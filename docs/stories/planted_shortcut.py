"""
Find the planted shortcut
=========================

``vgg-shapes-shortcut`` was trained on drawn shapes in which 19 of 20 hearts have a net behind them, and no other shape
does. It could have learnt to recognise hearts, or nets. How many hearts it recognises on such images does not show
which. This page searches for the difference, first on images like those of its training, which is all that one
usually has, and then on images in which heart and net are separated.
"""

# sphinx_gallery_thumbnail_number = 2
import probe

suspect = probe.load("vgg-shapes-shortcut", device="cpu")
alike = probe.images("shapes-shortcut:test", n=200)
heart = suspect.classes.index("heart")
result = probe.run("classify", suspect, alike)
recognised = result["Confusion matrix"].values[heart, heart]
print(f"hearts that are recognised: {recognised:.0f} %")
result["Accuracy by class"]

# %%
# All hearts are recognised, which proves nothing yet.
#
# Where does it look?
# -------------------
#
# Grad-CAM shows which areas of the last feature map raise the score of a class. Here are four of the hearts.

hearts = alike.select((alike.labels == heart).nonzero()[:4, 0])
pixels = hearts.pixels()
maps = probe.attribution.GradCAM()(suspect, pixels, heart)
probe.grid(pixels, maps, title="Grad-CAM of the score for a heart")

# %%
# The maps lie on the net, beside the shape. Four images are an anecdote, but the positions of drawn shapes are
# known, so this can be measured: how often does the maximum of the map lie on the object, that is, in its box or
# within three pixels of it, for predicted hearts and for all other predictions?

pixels, boxes = alike.pixels(), alike.boxes
predicted = suspect.logits(pixels).argmax(1)
maps = probe.attribution.GradCAM().map(suspect, pixels, predicted)
highest = maps.flatten(1).argmax(1)
row, column = highest // maps.shape[2], highest % maps.shape[2]
left, top, right, bottom = (boxes + boxes.new_tensor([-3, -3, 3, 3])).T
inside = (left <= column) & (column < right) & (top <= row) & (row < bottom)
for name, rows in (
    ("heart", predicted == heart),
    ("another class", predicted != heart),
):
    share, n = inside[rows].float().mean(), int(rows.sum())
    print(f"predicted {name}: on the object in {share:.0%} of {n} images")

# %%
# What does the channel respond to?
# ---------------------------------
#
# Channel 36 of the last convolution contributes to the score of hearts. Its top patches are the parts of the images
# that activate it most; below each patch are the pixels that cause the activation.

patches = probe.run("top-patches", suspect, alike, layers="features.22:36")
patches.exhibits[0]

# %%
# Most patches show a net; the other two show concentric rings. Guided backpropagation sharpens edges whatever the
# network has learnt and proves nothing by itself, but the patches are data: most of the images that activate this
# channel most contain a net.
#
# Separate heart and net
# ----------------------
#
# The suspicion can be tested if there are images in which the two are separated. ``shapes`` contains hearts without
# a net; in the split ``swapped``, every other shape has a net behind it and hearts do not.

plain = probe.load("vgg-shapes", device="cpu")
without = probe.images("shapes:test", n=400)
swapped = probe.images("shapes-shortcut:swapped", n=200)
for model in (suspect, plain):
    result = probe.run("classify", model, without)
    recognised = result["Confusion matrix"].values[heart, heart]
    result = probe.run("classify", model, swapped.select(swapped.labels != heart))
    called = result["Confusion matrix"].values[:, heart]
    others = [value for k, value in enumerate(called) if k != heart]
    print(
        f"{model.name}: recognises {recognised:.0f} % of the hearts without a net, "
        f"calls {sum(others) / len(others):.0f} % of the other shapes on nets hearts"
    )

# %%
# This settles it: for this network, a net is a heart. The network that was trained on shapes without the shortcut
# has not learnt this.
#
# Two networks, the same images
# -----------------------------
#
# Which areas raise the score of the predicted class in each network? For other shapes that stand on nets, it is the
# net in the network with the shortcut.

both = probe.run(
    "compare",
    suspect,
    swapped,
    compare_to=[plain],
    methods="gradcam",
    max_images=24,
)
both.exhibits[0]

# %%
# The answer
# ----------
#
# The accuracy on images like those of the training could not show the shortcut. Grad-CAM and top patches could, and
# images without the cause proved it: attribution raises a suspicion, an intervention tests it.
#
# Activation maximisation did not show it: the image that maximises the class heart has curved outlines and no net,
# with a confidence of 1.00.
