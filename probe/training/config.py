"""The options of a training, each defined once; flags and card entries are read off them."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from probe.errors import UserError, unknown
from probe.params import Fraction, Names, Parameters
from probe.precision import Precision

AUGMENTATIONS = (
    "crop",
    "flip",
    "brightness",
    "contrast",
    "saturation",
    "hue",
    "jitter",
    "cutout",
)


def _check_augmentations(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name == "whitening":
            raise ValueError("whitening is part of the network, not an augmentation: use --whiten")
        if name not in AUGMENTATIONS:
            raise ValueError(str(unknown("augmentation", name, AUGMENTATIONS)))
    return names


Augmentations = Annotated[Names, AfterValidator(_check_augmentations)]
"""Names of augmentations, on the command line with commas between them: crop,flip."""


class TrainingConfig(Parameters):
    """How a network is trained: optimiser, schedule, augmentation, adversarial training, preprocessing."""

    optimiser: Literal["sgd", "adam", "adamw"] = Field("sgd", description="optimiser of the weights")
    lr: float | None = Field(
        None,
        gt=0,
        le=100,
        description="peak learning rate (default at batch size 128: sgd 0.1 with batch norm and 0.02 without, "
        "adam and adamw 0.001; it grows linearly with the batch size for sgd, with its square root for adam)",
    )
    momentum: Fraction = Field(0.9, ge=0, lt=1, description="Nesterov momentum of sgd")
    weight_decay: Fraction = Field(
        5e-4, ge=0, le=1, description="weight decay (L2 penalty; decoupled for adamw)"
    )
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = Field(
        "one-cycle",
        description="learning rate schedule: one-cycle (linear warm-up, then cosine), cosine, step (divided by ten "
        "after one half and again after three quarters of the training), or constant",
    )
    epochs: int = Field(20, ge=1, le=10_000, description="number of passes over the training images")
    batch_size: int = Field(
        128, ge=4, le=65_536, description="number of images per step, summed over all processes"
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="seed of the initial weights, of the order of the images and of the augmentation",
    )
    augment: Augmentations = Field(
        (), description="augmentations, separated by commas: " + ", ".join(AUGMENTATIONS)
    )
    whiten: bool = Field(
        False,
        description="standardise each image to mean 0 and variance 1 in a first layer without parameters "
        "(architectures of the zoo)",
    )
    label_smoothing: Fraction = Field(
        0.0, ge=0, lt=1, description="fraction of the target distribution that is spread over all classes"
    )
    precision: Precision = Field(
        "auto", description="precision of the forward pass; auto uses bf16 where the hardware supports it"
    )
    validation: Fraction = Field(
        0.0, ge=0, le=0.5, description="fraction of the training images held out for validation"
    )
    early_stopping: int = Field(
        0,
        ge=0,
        le=10_000,
        description="stop after this many epochs without a lower validation loss and restore the best weights "
        "(0: never)",
    )
    adversarial: Literal["none", "fgsm", "pgd"] = Field(
        "none",
        description="attack of adversarial training: one FGSM step or several PGD steps on every batch",
    )
    eps: Fraction = Field(
        8 / 255,
        gt=0,
        le=1,
        description="radius of the attack in adversarial training (Linf, pixels in [0, 1])",
    )
    attack_steps: int = Field(10, ge=1, le=200, description="number of PGD steps in adversarial training")
    save_epochs: bool = Field(
        False, description="save the weights after every epoch, in the subfolder epochs/"
    )
    fp16: bool = Field(
        False, description="store the weights in 16 bits; the card states the accuracy of the stored weights"
    )
    preprocess: str = Field(
        "",
        description="preprocessing of the images, such as 'pad 32' (default: pad or crop if the sizes differ by up to a "
        "third, otherwise resize)",
    )
    size: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="height and width of the input in pixels (default: that of the architecture)",
    )
    options: Names = Field((), description="keyword arguments of the architecture, such as dropout=0.2")

    @model_validator(mode="after")
    def _check_early_stopping(self) -> "TrainingConfig":
        if self.early_stopping and not self.validation:
            raise ValueError("early_stopping needs a validation set: set validation, such as 0.1")
        return self

    @property
    def unused(self) -> set[str]:
        """The fields that have no effect, given the others."""
        attack = {
            "none": {"adversarial", "eps", "attack_steps"},
            "fgsm": {"attack_steps"},
            "pgd": set(),
        }[self.adversarial]
        return attack | (set() if self.whiten else {"whiten"})

    def architecture_options(self) -> dict[str, Any]:
        """`options` and `whiten` as keyword arguments: integers, floats, booleans, else text.

        Raises UserError for an option that is not written name=value.
        """
        values: dict[str, Any] = {"whiten": True} if self.whiten else {}
        for option in self.options:
            name, equals, value = option.partition("=")
            if not equals or not name or not value:
                raise UserError(f"options must be written name=value, such as dropout=0.2, got {option!r}")
            values[name] = _parse_value(value)
        return values


def format_flags(parameters: Parameters) -> str:
    """The fields that differ from their defaults, as flags of the command line."""
    parts = []
    for name, field in type(parameters).model_fields.items():
        value = getattr(parameters, name)
        if value == field.default:
            continue
        flag = f"--{name.replace('_', '-')}"
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        parts.append(flag if value is True else f"{flag} '{text}'" if " " in text else f"{flag} {text}")
    return " ".join(parts)


def _parse_value(value: str) -> Any:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for convert in (int, float):
        try:
            return convert(value)
        except ValueError:
            continue
    return value
