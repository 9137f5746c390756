"""Captions of the attack-path analysis state their findings; no network is needed."""

from dataclasses import replace

from probe.analyses.adversarial.attack_path_captions import (
    AttributionFindings,
    ClassChangeFindings,
    PathFindings,
    ShiftFindings,
    SpectrumFindings,
    SurfaceFindings,
    attribution_caption,
    class_change_caption,
    path_caption,
    shift_caption,
    spectrum_caption,
    surface_caption,
)


def test_the_shift_of_the_first_and_the_last_layer() -> None:
    findings = ShiftFindings(
        n=50, layers=("conv1", "fc"), attack=(0.24, 1.16), noise=(0.22, 0.64), cosine=-0.001
    )
    assert shift_caption(findings) == (
        "The attack changes the activations of conv1 by 24% of their norm and those of fc by 116%; random noise of the"
        " same L2 norm changes them by 22% and 64%. The cosine similarity in fc is 0.00. Medians and quartiles of 50"
        " images."
    )
    assert shift_caption(replace(findings, layers=("fc", "fc"), n=1)) == (
        "The attack changes the activations of fc by 24% of their norm; random noise of the same L2 norm changes them by"
        " 22%. The cosine similarity in fc is 0.00. Medians and quartiles of 1 image."
    )


def test_the_first_layer_in_which_most_images_are_near_the_new_class() -> None:
    findings = ClassChangeFindings(n=40, layers=("a", "b", "c"), proportions=(0.1, 0.6, 0.9))
    assert class_change_caption(findings) == (
        "b is the first layer in which most adversarial images (60%) are nearer to the mean of the new class than to that"
        " of the original class. In a 10% are, in c 90% (40 images)."
    )
    assert class_change_caption(replace(findings, proportions=(0.1, 0.5, 0.2))).startswith(
        "In no layer are most adversarial images nearer to the mean of the new class than to that of the original class:"
        " at most 50% are."
    )
    assert class_change_caption(ClassChangeFindings(1, ("a",), (1.0,))).endswith("In a 100% are (1 image).")


def test_the_correlations_of_the_attributions() -> None:
    findings = AttributionFindings(n=3, method="Gradient", predictions=-0.004, original_class=0.423)
    assert attribution_caption(findings) == (
        "Gradient of 3 images before and after the attack. The rank correlation between the maps of the two predictions"
        " is 0.00; between the maps of the original class it is 0.42. The maps of an image share one scale."
    )


def test_the_energy_at_high_frequencies() -> None:
    findings = SpectrumFindings(n=60, attack=0.26, noise=0.67, images=0.09)
    assert spectrum_caption(findings) == (
        "26% of the energy of the perturbation lies above half of the highest frequency, against 67% for random noise and"
        " 9% for the images (60 images)."
    )


def test_where_on_the_path_the_prediction_changes() -> None:
    findings = PathFindings(
        layer="fc1", classes=("cat", "dog"), changed=0.375, length=4.971, distance=3.06, n=12
    )
    assert path_caption(findings) == (
        "From cat to dog in fc1: the prediction changes after 38% of the path. The path is 4.97 long; the mean distance of"
        " 12 images from its line is 3.06."
    )
    assert path_caption(replace(findings, changed=None)).startswith(
        "In fc1 the prediction remains cat along the whole path."
    )


def test_the_loss_along_the_perturbation_and_along_the_noise() -> None:
    findings = SurfaceFindings(label="cat", attack=(-5.63, -0.04), noise=(-7.5, 5.4), misclassified=0.405)
    assert surface_caption(findings) == (
        "Log-odds against cat in the plane of the perturbation and of random noise of the same norm: from -5.6 to 0.0"
        " along the perturbation, between -7.5 and 5.4 along the noise. 40% of the plane is classified as another class."
    )
