"""The attacks, found by reading the files of this folder; nothing is imported until one is requested."""

from pathlib import Path
from typing import TYPE_CHECKING

from probe.registry import Registry

if TYPE_CHECKING:
    from probe.methods.adversarial.attack import Attack

ATTACKS: "Registry[Attack]" = Registry(
    "attack", Path(__file__).parent, hint="`probe list attacks` lists them."
)
