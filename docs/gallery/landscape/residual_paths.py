"""
Is a residual network a collection of many short paths?
=======================================================

Every residual block can be passed through or skipped, so that nine blocks make 512 paths. A small ResNet is trained
on digits for this, which takes most of the time.
"""

import tempfile

import probe

with tempfile.TemporaryDirectory() as folder:
    model = probe.train(
        "resnet20", "digits", out=f"{folder}/resnet20", epochs=2, quiet=True
    )
images = probe.images("digits:test", n=60)
result = probe.run(
    "residual-paths",
    model,
    images,
    path_images=8,
    samples=3,
    draws=2,
    most_deleted=4,
)
result["Paths by length"]

# %%
result["One block deleted"]

# %%
print(
    *(f"{number.label}: {number}" for number in result.numbers.values()), sep="\n"
)
print(*(f"warning: {warning}" for warning in result.warnings), sep="\n")

# %%
# What the pictures mean
# ----------------------
#
# The number of paths of each length is a binomial distribution; the gradient that arrives along them is measured,
# and here it follows the number. Without one of the first blocks the network is lost; without several of the later
# ones the error hardly changes.
#
# What they do not mean
# ---------------------
#
# This network is shallow and trained for two epochs: in deep ones, trained long, short paths carry most of the
# gradient and nearly any block can be deleted. That is a finding about such networks, not a law of the
# architecture. As the warning says, the effect of deleted blocks is best judged beside a plain network of the same depth.
