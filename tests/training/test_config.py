"""Training options: wrong ones refused, formatted as flags, options of the architecture parsed."""

import pytest

from probe.errors import UserError
from probe.params import validate
from probe.training.config import TrainingConfig, format_flags


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"augment": "crop,filp"}, "no augmentation 'filp'. Did you mean flip"),
        (
            {"augment": "crop,whitening"},
            "whitening is part of the network, not an augmentation: use --whiten",
        ),
        ({"optimiser": "sdg"}, "optimiser must be one of 'sgd', 'adam', 'adamw', got sdg"),
        ({"epochs": "0"}, r"epochs must lie in \[1, 10000\], got 0"),
        ({"early_stopping": 3}, "early_stopping needs a validation set: set validation"),
        ({"learning_rate": 1}, "no parameter 'learning_rate'"),
    ],
)
def test_a_wrong_config_is_refused_in_one_line(values, words):
    with pytest.raises(UserError, match=words):
        validate(TrainingConfig, values)


def test_an_option_of_the_architecture_is_parsed_to_the_type_of_its_value():
    config = TrainingConfig(options=("width=256", "dropout=0.2", "flatten=false", "name=x"))
    assert config.architecture_options() == {"width": 256, "dropout": 0.2, "flatten": False, "name": "x"}
    with pytest.raises(UserError, match="must be written name=value"):
        TrainingConfig(options=("width",)).architecture_options()


def test_the_flags_of_a_config_are_what_differs_from_the_defaults():
    config = TrainingConfig(
        epochs=5, augment=("crop", "flip"), save_epochs=True, preprocess="centre crop 24", weight_decay=1 / 2
    )
    assert (
        format_flags(config)
        == "--weight-decay 0.5 --epochs 5 --augment crop,flip --save-epochs --preprocess 'centre crop 24'"
    )
    assert format_flags(TrainingConfig()) == ""
