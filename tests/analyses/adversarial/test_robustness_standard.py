"""The AutoAttack standard inside of `robustness`: its cascade, its number, its caption."""

from probe.analyses.adversarial.robustness_standard import StandardFindings, standard_caption
from probe.data.images import Images
from probe.methods.adversarial.auto_attack import AutoAttack
from probe.methods.adversarial.criteria import predict
from probe.runs.execute import run
from tests.methods.adversarial.victims import digits, reader


def test_the_robust_accuracy_falls_attack_by_attack_to_that_of_the_whole() -> None:
    pixels, labels = (t[:8] for t in digits())
    images = Images.from_tensor(pixels, labels, classes=tuple("0123456789"), name="digits")
    result = run(
        "robustness",
        reader(),
        images,
        eps=0.06,
        attacks="fgsm",
        standard=True,
        eps_steps=1,
        seed=3,
        minutes=0.001,
    )
    table = next(e for e in result.exhibits if e.title == "AutoAttack, standard version")
    robust = [row[2] for row in table.rows]
    assert [row[0] for row in table.rows] == ["no attack", "APGD", "APGD-T", "FAB-T", "Square attack"]
    assert robust == sorted(robust, reverse=True)
    number = result.numbers["robust_accuracy_standard"]
    assert number.value == robust[-1] / 8
    assert number.value <= result.numbers["accuracy_strongest"].value
    whole = AutoAttack(eps=0.06)(reader(), pixels, labels)
    fooled = predict(reader(), whole.pixels).argmax(1) != labels
    assert abs(int((~fooled).sum()) - robust[-1]) <= 1


def test_the_caption_says_at_most_and_what_was_spent() -> None:
    caption = standard_caption(StandardFindings(n=500, eps=0.3, clean=0.99, robust=0.816, queries=5210.0))
    assert "At eps 0.3 the robust accuracy is at most 81.6% (500 images, clean accuracy 99.0%)." in caption
    assert "5,210 forward passes per image" in caption
