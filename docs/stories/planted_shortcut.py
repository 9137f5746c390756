"""
Find the planted shortcut
=========================

``vgg-shapes-shortcut`` was trained on drawn shapes in which 19 hearts in 20 stand on a net, and no other shape does.
It could learn the heart, or it could learn the net. Nothing in its accuracy on such images tells which. This page
looks for the difference, first with images like those of its training only, which is all that one has in practice, and
then with images in which heart and net come apart.
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
# All hearts are recognised. That might be a compliment.
#
# Where does it look?
# -------------------
#
# Grad-CAM shows which places of the last feature map raise the score of the predicted class. Take some hearts.

hearts = alike.select((alike.labels == heart).nonzero()[:4, 0])
pixels = hearts.pixels()
maps = probe.attribution.GradCAM()(suspect, pixels, heart)
probe.grid(pixels, maps, title="Grad-CAM of the score for a heart")

# %%
# The maps lie beside the shape, on the net. Four images are an anecdote; drawn shapes have masks, so it can be
# counted. How often does the highest value lie on the object or within three pixels of its box, for predicted hearts
# and for all other predictions?

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
# What does the channel see?
# --------------------------
#
# Channel 36 of the last convolution votes for hearts. Its top patches are the places of the data set that activate it
# most, and beside each is what in the patch does so.

patches = probe.run("top-patches", suspect, alike, layers="features.22:36")
patches.exhibits[0]

# %%
# Nets, and twice rings of lines. Guided backpropagation sharpens edges whatever the network has learnt, so it proves
# nothing by itself, but the patches are data: most of the images on which this channel is largest have a net.
#
# Take heart and net apart
# ------------------------
#
# The suspicion can be tested, if images can be made in which the two come apart. ``shapes`` has hearts without a net;
# in the split ``swapped`` every other shape stands on a net, and hearts do not.

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
# That settles it: for this network a heart is a net. The network that was trained on shapes without the shortcut has
# not learnt it, though nets trouble it too, since it has never seen any.
#
# Two networks, the same images
# -----------------------------
#
# Where does the score for the predicted class come from in each of them? On other shapes that stand on nets the suspect
# looks at the net.

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
# The accuracy on data like those of the training could not show the shortcut, Grad-CAM and top patches could, and images
# in which the cause is taken away proved it. In this order: suspicion from attribution, proof from an intervention.
#
# What did not show it: an image that maximises the class heart has curved outlines and short pieces of parallel lines,
# with a confidence of 1.00, and no net.
