"""Sentences about the randomisation test, without and with its numbers."""

from probe.analyses.attribution.explanations import mean_similarity
from probe.exhibits.wording import counted
from probe.methods.attribution.sanity_checks import MAX_SIMILARITY, RandomisationResult


def randomisation_verdict(title: str, result: RandomisationResult) -> str:
    """The outcome of the randomisation test of a method with its figures, in one sentence."""
    if result.constant:
        return f"{title} cannot be tested on these images: its maps are constant."
    images = counted(len(result.last))
    last, half = mean_similarity(result.last), mean_similarity(result.half)
    if result.outcome == "fails":
        last_fails = (last.low or 0) >= (half.low or 0)
        layers, similarity = ("the last layer is", last) if last_fails else ("half of the layers are", half)
        reason = (
            "so they do not explain the prediction"
            if last_fails
            else "so they show structure of the image, such as edges, more than what the network has learnt"
        )
        return (
            f"{title} fails the randomisation test ({images}): its maps still have a rank correlation of {similarity} "
            f"with the original ones when {layers} randomised, {reason}."
        )
    correlations = (
        f"the rank correlation with its original maps is {last} when the last layer is randomised and {half} when "
        "half of the layers are"
    )
    if result.outcome == "passes":
        return f"{title} passes the randomisation test ({images}): {correlations}."
    few = f"{images} {'is' if len(result.last) == 1 else 'are'} too few to tell"
    return (
        f"{title} neither passes nor fails the randomisation test: {correlations}; {few} whether that exceeds "
        f"{MAX_SIMILARITY}."
    )


RANDOMISATION_FACTS = {"max_similarity": MAX_SIMILARITY}
"""For exhibits whose captions hold these sentences."""
