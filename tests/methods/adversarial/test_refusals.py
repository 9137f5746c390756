"""What cannot be attacked is refused in one line, before any attack begins."""

import pytest
import torch

from probe.errors import UserError
from probe.methods.adversarial.attack import Attack
from probe.methods.adversarial.criteria import make_criterion
from probe.methods.adversarial.gradient_attacks import FGSM, PGD
from tests.methods.adversarial.victims import linear, reader


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": 8.0}, "eps must lie in [0, 1], got 8: for 8 grey levels write 8/255"),
        ({"eps": -0.1}, "eps must lie in [0, 1], got -0.1"),
        ({"targets": 10}, "there is no target class 10: victim has 10, 0 to 9"),
        ({"targets": 3}, "the target class 3 (3) is already the class of image 1"),
        ({"pixels": torch.full((2, 1, 8, 8), 1.5)}, "pixels must lie in [0, 1], got 1.5 to 1.5: the model normalises them itself"),
        ({"pixels": torch.full((2, 1, 8, 8), torch.nan)}, "pixels must lie in [0, 1], got nan to nan"),
        ({"labels": torch.tensor([0, 11])}, "there is no label class 11: victim has 10, 0 to 9"),
        ({"labels": torch.tensor([0])}, "there are 2 images but 1 labels"),
        ({"pixels": torch.zeros(0, 1, 8, 8)}, "there is no image to attack"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("attack", [FGSM, PGD])
def test_what_cannot_be_attacked_is_refused_in_one_line(
    attack: type[Attack], change: dict, message: str
) -> None:
    arguments = {
        "pixels": torch.full((2, 1, 8, 8), 0.5),
        "labels": torch.tensor([0, 3]),
        "eps": 0.1,
        **change,
    }
    with pytest.raises(UserError) as refused:
        attack(eps=arguments.pop("eps"))(reader(), **arguments)
    assert str(refused.value).startswith(message)


def test_a_model_with_one_class_is_refused() -> None:
    alone = linear(torch.ones(1, 4), torch.zeros(1), (1, 2, 2))
    with pytest.raises(UserError, match="has 1 class"):
        make_criterion(alone, torch.zeros(1, 1, 2, 2), torch.tensor([0]))
