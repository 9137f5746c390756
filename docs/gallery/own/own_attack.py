"""
How do I write an attack of my own?
===================================

An attack is a class with parameters and one method, `perturb`. Its input is validated for it, and which images
are fooled is decided elsewhere.
"""

from pydantic import Field

import probe
from probe.methods.adversarial.attack import AttackResult, BoundedAttack
from probe.methods.adversarial.gradient_attacks import FGSM
from probe.params import Fraction


class RandomFGSM(BoundedAttack):
    """A random step, then a gradient step from there."""

    name, title = "r-fgsm", "R+FGSM"
    source = "Tramèr et al. 2018, arXiv 1705.07204"
    alpha: Fraction = Field(
        1 / 2, gt=0, lt=1, description="random part of the radius"
    )

    def perturb(self, model, pixels, criterion, rng) -> AttackResult:
        noise = probe.adversarial.Noise(eps=self.alpha * self.eps, norm=self.norm)
        start = noise.perturb(model, pixels, criterion, rng).pixels
        return FGSM(eps=(1 - self.alpha) * self.eps, norm=self.norm).perturb(
            model, start, criterion, rng
        )


# %%
model, images = probe.load("vgg-shapes"), probe.images("shapes:test", n=100)
pixels, labels = images.pixels(), images.labels
attacks = [
    probe.adversarial.Noise(eps="8/255"),
    RandomFGSM(eps="8/255"),
    FGSM(eps="8/255"),
]
for attack in attacks:
    predicted = model.logits(attack(model, pixels, labels).pixels).argmax(1)
    accuracy = (predicted == labels).float().mean()
    print(f"{attack.title:8} accuracy {accuracy:.0%}")

# %%
changed = RandomFGSM(eps="8/255")(model, pixels[:8], labels[:8]).pixels
names = [model.classes[k] for k in model.logits(changed).argmax(1)]
probe.grid(
    changed,
    labels=names,
    title="Attacked images",
    caption="Below each image the predicted class.",
)

# %%
# What the picture means
# ----------------------
#
# The images look unchanged; the labels below them are the classes that the network predicts. The printed
# accuracies place the attack between its two parts: noise alone, and one gradient step of the whole radius.
#
# What it does not mean
# ---------------------
#
# A gradient step from a random start was designed for networks whose gradient is masked at the image itself.
# Where it is not masked, as here, the attack is weaker than the plain step. Once the class is a file in
# `probe/methods/adversarial/`, `robustness` accepts the attack by its name and reports such comparisons with
# intervals.
