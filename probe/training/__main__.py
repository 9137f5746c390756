"""python -m probe.training ARCH DATA OUT name=value ...: until the command line has `train`."""

import sys
from pathlib import Path

from probe.errors import UserError
from probe.params import checked
from probe.training.recipe import Recipe
from probe.training.run import run_training

arch, data, out, *rest = sys.argv[1:]
try:
    recipe = checked(Recipe, dict(one.split("=", 1) for one in rest))
    card = run_training(arch, data, Path(out), recipe)
    print(card.results, file=sys.stderr)  # noqa: T201
except UserError as error:
    sys.exit(f"probe: {error}")
