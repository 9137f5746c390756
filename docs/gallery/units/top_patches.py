"""
What does a channel of a late layer respond to?
===============================================

For each channel, the patches of the data set that activate it most, and the pixels in them that cause the
activation. `features.22:36` is channel 36 of a late convolution.
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
# The first row shows the patches, each as large as the receptive field of one unit. In the second row, guided
# backpropagation from this unit marks the pixels that raise its activation. What the patches have in common is
# a hypothesis about what the channel responds to.
#
# What they do not mean
# ---------------------
#
# Nine patches are the extreme end of a distribution: a channel whose top patches are all of one kind may
# respond half as strongly to other things, and usually does. Guided backpropagation sharpens edges whatever the
# later layers do, so it does not explain the activation. And a selective channel need not be important: the
# accuracy may stay the same without it.
