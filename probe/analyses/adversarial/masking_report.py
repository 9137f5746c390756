"""The checks for gradient masking in words: what was measured, and what a failed check implies."""

from probe.exhibits.wording import listed
from probe.methods.adversarial.masking import (
    BLACK_BOX,
    CONVERGED,
    DETERMINISTIC,
    GRADIENT,
    ITERATIVE,
    LARGE_RADIUS,
    LOGITS,
    LOSSES,
    QUALITY,
    Check,
    failed_checks,
    skipped_checks,
)

_MEASURED = {
    DETERMINISTIC: "forward passes over the same images differ by {difference:.2g}, the largest logit is {largest_logit:.3g}",
    LOGITS: "the outputs of an image sum to between {smallest_sum:.3g} and {largest_sum:.3g}",
    GRADIENT: "the gradient is zero for {zero:.0%} of the images, NaN for {invalid:.0%}; {zero_values:.0%} of all "
    "values are zero",
    QUALITY: "a step of {length:.2g} along the gradient raises the loss by {ratio:.2f} times the predicted rise (median), "
    "by less than 1/4 or more than 4 times for {outside:.0%} of the images; the loss falls for {fell:.0%}",
    ITERATIVE: "accuracy {single_step:.0%} after one step, {iterative:.0%} after {steps}",
    LARGE_RADIUS: "accuracy {accuracy:.0%} at eps {eps:g} of the {noise:.0%} of the images that noise of that size does "
    "not fool, chance level {chance_level:.0%}",
    BLACK_BOX: "{fooled:.0%} are fooled by {queries} queries of the square attack but not by PGD",
    CONVERGED: "accuracy {accuracy:.0%} after {steps} steps, {longer:.0%} after {more_steps} more",
    LOSSES: "accuracy {cross_entropy:.0%} after one step on the cross-entropy, {log_odds:.0%} on the log-odds",
}
"""Templates over `Check.measured`."""

IMPLICATIONS = {
    DETERMINISTIC: "each pass has another gradient: attack the mean over many passes",
    LOGITS: "probabilities saturate and their gradient vanishes: attack the layer before the softmax",
    GRADIENT: "attacks that follow a zero or NaN gradient do not move: their failure is not robustness",
    QUALITY: "the loss is rugged on the scale of a step: attacks that follow its gradient fail",
    ITERATIVE: "the gradient misleads the attack: the accuracy under iterative attacks is overestimated",
    LARGE_RADIUS: "every image can become uniformly grey at this radius: the attack does not work on the others",
    BLACK_BOX: "a search without gradients succeeds where gradients fail: the gradients are masked",
    CONVERGED: "the attack needs more steps: the accuracy is overestimated",
    LOSSES: "the cross-entropy saturates in float32: attacks that use it overestimate the accuracy",
}
"""What it means where a check fails."""


def format_measured(check: Check) -> str:
    """The figures of a check in words, or why it is not applicable or was not run."""
    if check.verdict == "NOT RUN":
        return "would take {needed:,.0f} forward passes, {left:,.0f} are left of the budget".format(
            **check.measured
        )
    if check.verdict != "not applicable":
        return _MEASURED[check.name].format(**check.measured)
    if "noise" in check.measured:
        return "noise of size {large_eps:g} alone fools all but {noise:.0%} of the images".format(
            **check.measured
        )
    if "eps" in check.measured:
        return f"eps {check.measured['eps']:.3g} is a large radius already"
    return "no image is classified correctly"


def masking_warnings(checks: list[Check]) -> list[str]:
    """One sentence for each check that failed, and one for those that were not run."""
    skipped = skipped_checks(checks)
    return [
        f"Check failed: {check.name} ({format_measured(check)}); {IMPLICATIONS[check.name]}."
        for check in failed_checks(checks)
    ] + (
        [
            f"Checks not run because the budget does not suffice: {listed([check.name for check in skipped])}. Whether the"
            " gradient is masked in these ways is not known; a larger budget (--minutes) runs them."
        ]
        if skipped
        else []
    )
