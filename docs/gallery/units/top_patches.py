"""
What does a channel of a late layer respond to?
===============================================

For each channel, the patches of the data set that activate it most, and the pixels that are responsible.
`features.22:36` is channel 36 of a late convolution.
"""

import probe

model = probe.load("vgg-shapes")
images = probe.images("shapes:test", n=400)
result = probe.run("top-patches", model, images, layers="features.22:36")
result[result.titles[0]]

# %%
# The same for the channel that is most selective for a single class:

table = result["All channels"].to_pandas()
selective = table.sort_values("selectivity", ascending=False).iloc[0]
print(selective.to_string())

# %%
channel = int(selective["channel"])
result = probe.run("top-patches", model, images, layers=f"features.22:{channel}")
result[result.titles[0]]

# %%
# What the pictures mean
# ----------------------
#
# The first row are the patches, each as large as the receptive field of one unit; below, guided backpropagation
# from that unit marks the pixels that raise its activation. If the patches have something in common, it is a guess
# at what the channel responds to.
#
# What they do not mean
# ---------------------
#
# Nine patches are the tip of a distribution: a channel with pure top patches may respond to other things at half
# the strength, and usually does. Guided backpropagation sharpens edges whatever the later layers do, so it gives no
# reasons. And a channel that is selective need not matter: deleting it may leave the accuracy as it is.
