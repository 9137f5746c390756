"""
How are the images arranged in feature space?
=============================================

120 dimensions in a plane: t-SNE preserves neighbours, principal components preserve variance. The analysis
measures what each of them loses.
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
# Most clusters of t-SNE consist of a single digit; images at the edge of a cluster or inside another one are
# worth a look. Two principal components hold less than half of the variance, so classes that are separate in
# the features overlap in their plane.
#
# What they do not mean
# ---------------------
#
# The sizes of clusters, the distances between them and their arrangement mean little: t-SNE equalises
# densities, and another seed arranges the clusters differently. Classes that are separate here are not
# necessarily linearly separable in the features, nor are classes that overlap inseparable. The table states how
# many neighbours each embedding preserves.
