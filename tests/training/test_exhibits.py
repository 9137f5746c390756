"""Captions of a training in words, without a network."""

from dataclasses import replace

import numpy as np

from probe.training.exhibits import (
    ConfusionFindings,
    LearningCurveFindings,
    confusion_caption,
    confusion_matrix,
    learning_curve_caption,
)

CONFUSION = ConfusionFindings(
    correct=1150, n=1200, split="digits:test", confused=7, class_size=100, true_class="9", predicted_class="4"
)


def test_the_caption_of_learning_curves_gives_test_and_training_accuracy():
    assert learning_curve_caption(LearningCurveFindings(12, 4692, 0.8459, 0.8847)) == (
        "Test accuracy is 84.59% after 12 epochs (4,692 steps). "
        "Training accuracy, measured on the augmented images of the last epoch, is 88.47%."
    )
    assert "after 1 epoch (1 step)" in learning_curve_caption(LearningCurveFindings(1, 1, 0.1, 0.1))


def test_the_caption_of_a_confusion_matrix_names_the_most_frequent_confusion():
    assert confusion_caption(CONFUSION) == (
        "1,150 of 1,200 images of digits:test are classified correctly. "
        "The most frequent confusion: 7 of 100 images of class 9 predicted as 4."
    )
    perfect = replace(CONFUSION, correct=1200, confused=0)
    assert confusion_caption(perfect) == "1,200 of 1,200 images of digits:test are classified correctly."


def test_the_most_frequent_confusion_is_the_largest_count_off_the_diagonal():
    counts = np.array([[50, 3, 0], [0, 40, 9], [1, 2, 30]])
    caption = confusion_matrix(counts, ("cat", "dog", "cow"), "pets").caption
    assert caption.endswith("9 of 49 images of class dog predicted as cow.")
