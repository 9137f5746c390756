"""With which options is a network trained? Each is defined here once."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from probe.errors import UserError, unknown
from probe.params import Fraction, Names, Parameters

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


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name == "whitening":
            raise ValueError("whitening is done to every image, also after training: --whiten does it")
        if name not in AUGMENTATIONS:
            raise ValueError(str(unknown("augmentation", name, AUGMENTATIONS)))
    return names


Augmentations = Annotated[Names, AfterValidator(_known)]
"""Names of variations, on the command line with commas between them: crop,flip."""


class TrainingConfig(Parameters):
    """How a network is trained."""

    optimiser: Literal["sgd", "adam", "adamw"] = Field("sgd", description="rule that changes the weights")
    lr: float | None = Field(
        None,
        gt=0,
        le=100,
        description="highest learning rate (default at batch 128: sgd 0.1 with batch norm and 0.02 without, "
        "adam and adamw 0.001; larger batches take proportionally, adam's by the root)",
    )
    momentum: Fraction = Field(0.9, ge=0, lt=1, description="Nesterov momentum of sgd")
    weight_decay: Fraction = Field(5e-4, ge=0, le=1, description="pull of all weights towards zero")
    schedule: Literal["one-cycle", "cosine", "step", "constant"] = Field(
        "one-cycle",
        description="course of the learning rate: up and down, down along a cosine, to a tenth after one half "
        "and again after three quarters, or none",
    )
    epochs: int = Field(20, ge=1, le=10_000, description="passes over the training images")
    batch: int = Field(128, ge=4, le=65_536, description="images a step, over all processes together")
    seed: int = Field(
        0, ge=0, lt=2**31, description="of the first weights, the order of the images and the augmentation"
    )
    augment: Augmentations = Field((), description="with commas between them: " + ", ".join(AUGMENTATIONS))
    whiten: bool = Field(
        False,
        description="bring each image to mean 0 and variance 1, by a first layer without parameters (networks of "
        "the zoo)",
    )
    label_smoothing: Fraction = Field(
        0.0, ge=0, lt=1, description="share of the target spread over all classes"
    )
    precision: Literal["auto", "float32", "bf16"] = Field(
        "auto", description="arithmetic of the passes; auto takes bf16 where the device computes in it"
    )
    validation: Fraction = Field(
        0.0, ge=0, le=0.5, description="share of the training images held out of the training"
    )
    early_stopping: int = Field(
        0,
        ge=0,
        le=10_000,
        description="stop after so many epochs without a lower validation loss and keep the best weights (0: never)",
    )
    adversarial: Literal["none", "fgsm", "pgd"] = Field(
        "none", description="train on images that are moved against the network, by one step or by several"
    )
    eps: Fraction = Field(
        8 / 255, gt=0, le=1, description="largest change of a pixel in adversarial training, of [0, 1]"
    )
    steps: int = Field(10, ge=1, le=200, description="steps of pgd in adversarial training")
    keep_epochs: bool = Field(False, description="keep the weights after every epoch, in epochs/")
    half: bool = Field(
        False, description="store the weights in 16 bits, half the size; the card measures them as stored"
    )
    preprocess: str = Field(
        "",
        description="rule that brings images to the input, such as 'pad 32' (default: pad or crop by up to "
        "a third, else resize)",
    )
    size: int | None = Field(
        None,
        ge=8,
        le=2048,
        description="side of the square input in pixels (default: the architecture's own)",
    )
    options: Names = Field((), description="arguments of the architecture, such as dropout=0.2")

    @model_validator(mode="after")
    def _held_out(self) -> "TrainingConfig":
        if self.early_stopping and not self.validation:
            raise ValueError("early_stopping needs images that are held out: add validation, such as 0.1")
        return self

    @property
    def idle(self) -> set[str]:
        """The options that change nothing, given the others."""
        attack = {"none": {"adversarial", "eps", "steps"}, "fgsm": {"steps"}, "pgd": set()}
        return attack[self.adversarial] | (set() if self.whiten else {"whiten"})

    def arguments(self) -> dict[str, Any]:
        """`options` and `whiten` as keyword arguments: whole numbers, numbers, true and false, else text."""
        found: dict[str, Any] = {"whiten": True} if self.whiten else {}
        for option in self.options:
            name, equals, value = option.partition("=")
            if not equals or not name or not value:
                raise UserError(f"options must be written name=value, such as dropout=0.2, got {option!r}")
            found[name] = _typed(value)
        return found


def flags(parameters: Parameters) -> str:
    """What differs from the defaults, as it is typed on the command line."""
    parts = []
    for name, field in type(parameters).model_fields.items():
        value = getattr(parameters, name)
        if value == field.default:
            continue
        flag = f"--{name.replace('_', '-')}"
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        parts.append(flag if value is True else f"{flag} '{text}'" if " " in text else f"{flag} {text}")
    return " ".join(parts)


def _typed(value: str) -> Any:
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value
