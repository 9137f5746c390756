"""
How are the images arranged in feature space?
=============================================

120 dimensions on a plane: t-SNE keeps neighbours, principal components keep variance. What each has lost is
measured.
"""

import probe

model = probe.load("lenet5-digits")
images = probe.images("digits:test")
result = probe.run(
    "embed", model, images, methods=["tsne", "pca"], perplexity=30, seeds=1, grid=0
)
result["Thumbnails, t-SNE, perplexity 30 of act3"]

# %%
result["PCA of act3"]

# %%
result["Quality of the embeddings of act3"]

# %%
# What the pictures mean
# ----------------------
#
# Most islands of t-SNE are a single digit, and images on the rim of an island or within another one are worth a
# look. The two principal components hold less than half of the variance, so classes overlap in them which are apart
# in the features.
#
# What they do not mean
# ---------------------
#
# Sizes of islands, distances between them and their arrangement mean little: t-SNE equalises densities, and another
# seed arranges them anew. That classes are apart here does not say that a linear classifier separates them, nor
# does an overlap say that it cannot. The table measures how many neighbours each embedding keeps.
