"""The results of a card as the command line prints them."""

from probe.training.summary import format_results

TRAINED = {
    "test_split": "mnist:test",
    "test_images": 10000,
    "test_accuracy": 0.9911,
    "test_accuracy_interval": [0.98906, 0.99276],
    "train_images": 10000,
    "train_accuracy": 0.9997,
    "robust_accuracy": 0.913,
    "robust_images": 1000,
    "robust_attack": "PGD with 40 steps, Linf 0.3",
    "measured_by": "probe train, in float32 on the weights as stored",
    "published": {"test_accuracy": 0.9905, "data": "MNIST", "source": "LeCun et al. 1998"},
}


def test_every_result_of_a_training_is_a_line_with_its_label_and_unit():
    assert format_results(TRAINED) == [
        "test accuracy: 99.11% (95% interval 98.91% to 99.28%, 10,000 images of mnist:test)",
        "training accuracy: 99.97% (10,000 images)",
        "robust accuracy: 91.30% (1,000 images; PGD with 40 steps, Linf 0.3)",
        "published test accuracy: 99.05% on MNIST (LeCun et al. 1998)",
    ]


def test_the_strategies_of_a_transfer_are_listed_with_the_gain_over_training_from_scratch():
    results = {"strategies": {"head, frozen backbone": 0.9, "from scratch": 0.5}, "gain_over_scratch": 0.4}
    assert format_results(results) == [
        "test accuracy by strategy:",
        "  head, frozen backbone: 90.00%",
        "  from scratch: 50.00%",
        "gain over training from scratch: 40.0 percentage points",
    ]


def test_without_results_nothing_is_printed():
    assert format_results({}) == []
