"""
Is this network robust?
=======================

An engineer has to decide whether a model can be shipped. The model is ``lenet5-digits``, LeNet-5 on handwritten
digits, and its accuracy is high. This page measures what small changes of the pixels do to it, checks which figures
can be trusted, and states what remains unknown.
"""

import probe

model = probe.load("lenet5-digits", device="cpu")
images = probe.images("digits:test", n=100)
accuracy = probe.run("classify", model, images)
print("accuracy", accuracy.numbers["accuracy"])
print("expected calibration error", accuracy.numbers["expected_calibration_error"])

# %%
# Random noise first
# ------------------
#
# Pixels may be changed by an adversary, or by the noise of a different scanner. Random signs of size eps are an
# example of noise; one step along the gradient of the loss is the simplest attack. The radius 0.1 is a tenth of the
# range from black to white, or 25 grey levels: everybody sees the change, but nobody is misled by it.

step = probe.run("fgsm", model, images, eps=0.1, eps_steps=6)
step["Accuracy against eps"]

# %%
# Noise hardly changes the accuracy. One step along the gradient costs most of it. The network is stable under
# random changes but not under deliberate ones, so any statement about its robustness has to say which of the two is
# meant.

step["Attacked images"]

# %%
# Stronger attacks
# ----------------
#
# A single step is the weakest gradient attack. ``robustness`` runs several attacks, then stronger ones on the
# images that survive, and counts an image as robust only if none of them fools it.

result = probe.run("robustness", model, images, eps=0.1, targets_per_class=1)
result["Accuracy against the size of the perturbation"]

# %%
# The accuracy under the strongest of all attacks is the one that matters. It is an upper bound: another attack may
# lower it, but none can raise it.

for key in ("accuracy_clean", "accuracy_pgd", "accuracy_strongest"):
    print(result.numbers[key].label, result.numbers[key])

# %%
# Can these figures be trusted?
# -----------------------------
#
# An attack can fail for two reasons: the network is robust, or its gradient is useless to the attack. The second is
# called gradient masking, and it is the reason why most published defences were broken. Nine checks look for it.

result["Checks for gradient masking"]

# %%
# All of them pass, so the attacks work, and the low accuracy is a property of the network. A check with the verdict
# NOT RUN would not be a pass: it would mean that the budget was too small, and that gradient masking could not be
# excluded.

print("failed checks:", result.numbers["failed_checks"])

# %%
# What fails first?
# -----------------
#
# The radius that fools an image differs widely between images. It is smallest for images with a small margin, that
# is, a small difference between the two largest logits. This is useful in operation, where the margin is known
# without an attack.

result["Margin and minimal radius"]

# %%
# The changes of the least robust images are hard to see. In a product, these are the images to look at first.

result["The least robust images"]

# %%
# The answer
# ----------
#
# No. Under a change of 25 grey levels, hardly any accuracy is left against an adversary, while noise of the same
# size has little effect. Whether the network can be used nevertheless depends on whether anybody has a reason to
# attack it; a scanner does not.
#
# Other norms, rotations, shifts, blur and other paper have not been tested. An accuracy under attack is a statement
# about one kind of change and one radius. ``probe train --adversarial pgd`` trains networks that withstand such
# changes, at a cost in accuracy, and :doc:`/howto/reading-robustness` explains every part of the report.
