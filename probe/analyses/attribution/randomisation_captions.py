"""Sentences about the randomisation test, without and with its numbers."""

from probe.analyses.attribution.explanations import mean_similarity
from probe.exhibits.result import Number
from probe.exhibits.wording import counted, listed, sentences
from probe.methods.attribution.sanity_checks import MAX_SIMILARITY, RandomisationResult


def randomisation_verdict(title: str, result: RandomisationResult) -> str:
    """The outcome of the randomisation test of a method with its figures, in one sentence or two."""
    if result.outcome == "not tested":
        return f"{title} is not tested here: the budget does not allow it."
    if result.outcome == "constant":
        return f"{title} cannot be tested on these images: its maps are blank, the same value everywhere."
    return sentences(_verdict(title, result), _blanks(result))


def _verdict(title: str, result: RandomisationResult) -> str:
    images = counted(result.images)
    if result.outcome == "blank":
        return (
            f"{title} has no verdict of the randomisation test ({images}): most of its maps are blank once layers are "
            "randomised, and a blank map cannot be compared with the original one."
        )
    last, half = (mean_similarity(values) if len(values) else None for values in (result.last, result.half))
    if result.outcome == "fails":
        last_fails = _low(last) >= _low(half)
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
    few = f"{images} {'is' if result.images == 1 else 'are'} too few to tell"
    return (
        f"{title} neither passes nor fails the randomisation test: {correlations}; {few} whether that exceeds "
        f"{MAX_SIMILARITY}."
    )


def _low(similarity: Number | None) -> float:
    return -1.0 if similarity is None or similarity.low is None else similarity.low


def _blanks(result: RandomisationResult) -> str:
    """How many maps were left out because they are blank."""
    usable = result.images - result.blank
    parts = [
        result.blank and f"{result.blank} of {result.images} with the trained network",
        result.blank_last and f"{result.blank_last} of {usable} with the last layer randomised",
        result.blank_half and f"{result.blank_half} of {usable} with half of the layers randomised",
    ]
    counts = [part for part in parts if isinstance(part, str)]
    return f"Blank maps are excluded: {listed(counts)}." if counts else ""


def blank_facts(key: str, result: RandomisationResult) -> dict[str, float]:
    """The counts that the sentences state, for the facts of an exhibit."""
    return {
        f"test_images_{key}": result.images,
        f"blank_maps_{key}": result.blank,
        f"not_blank_maps_{key}": result.images - result.blank,
        f"blank_maps_last_randomised_{key}": result.blank_last,
        f"blank_maps_half_randomised_{key}": result.blank_half,
    }


RANDOMISATION_FACTS = {"max_similarity": MAX_SIMILARITY}
"""For exhibits whose captions hold these sentences."""
