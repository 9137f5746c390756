"""From arguments to a command: the parser, made of the definitions of the analyses and commands."""

import re
from collections.abc import Callable
from typing import Any

from cyclopts import App, CycloptsError, Group, Parameter, UnusedCliTokensError
from pydantic import BaseModel, ValidationError

import probe
from probe.analyses.registry import catalogue, find
from probe.cli.commands import COMMANDS, analysis_command
from probe.cli.options import Options
from probe.errors import UserError, unknown
from probe.params import error_message

ABOUT = """What did my CNN learn, what drives it, and how does it break?

A first look at the network and the images that travel with probe:

    probe report

Your own checkpoint and images:

    probe adopt net.pth --arch file.py:make_net --classes names.txt --out mynet
    probe report --model mynet --data folder:photos
    probe fgsm --model mynet --data folder:photos --eps 8/255
"""

WORK = Group("Main commands", sort_key=0)
STUDY = Group("Analyses", sort_key=1)


def run(arguments: list[str]) -> int:
    """Parse and execute. Raises UserError for what is wrong with the arguments."""
    name = arguments[0] if arguments else "--help"
    if not name.startswith("-") and name not in COMMANDS and name not in catalogue():
        known = [*COMMANDS, *catalogue()]
        raise unknown("command or analysis", name, known, hint="`probe --help` lists them.")
    app, definitions = _app(name)
    try:
        return app(arguments, exit_on_error=False, print_error=False, result_action="return_value") or 0
    except CycloptsError as error:
        raise UserError(_reason(error, definitions)) from None


def _app(name: str) -> tuple[App, list[type[BaseModel]]]:
    """The parser, with only the command `name` in full, and the definitions whose fields are its flags.

    The others are there by their names: torch is imported with the one that is called.
    """
    app = App(
        name="probe",
        help=ABOUT,
        version=probe.__version__,
        default_parameter=Parameter(negative_iterable=(), show_default=written),
        help_format="markdown",
        suppress_keyboard_interrupt=False,
    )
    definitions: list[type[BaseModel]] = [Options]
    for command, make in COMMANDS.items():
        function: Callable[..., Any] = _nothing
        if command == name:
            function, fields = make()
            definitions += fields
        app.command(function, name=command, help=make.__doc__, group=WORK)
    for entry in catalogue().values():
        function = _nothing
        if entry.name == name:
            kind = find(name)
            function = analysis_command(kind)
            definitions.append(kind)
        app.command(function, name=entry.name, help=entry.question, group=STUDY)
    return app, definitions


def _nothing() -> None:
    """Stands in for the commands that are not the one called."""


def _reason(error: CycloptsError, definitions: list[type[BaseModel]]) -> str:
    """What is wrong with the arguments, in one line."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        for definition in definitions:
            if re.search(rf"\b{definition.__name__}\b", cause.title):
                return error_message(definition, cause)
    if isinstance(error, UnusedCliTokensError):
        return _stray(error.unused_tokens or [], error.root_input_tokens or [], definitions)
    return " ".join(str(error).split())


def _stray(left: list[str], arguments: list[str], definitions: list[type[BaseModel]]) -> str:
    """What to say of values that nothing takes: they may be further ones of the option before them."""
    first = len(arguments) - len(left)
    while first > 0 and arguments[first : first + len(left)] != left:
        first -= 1
    said = f"nothing takes {' '.join(left)}"
    if first > 1:
        option, value = arguments[first - 2 : first]
        fields = [
            definition.model_fields.get(option.removeprefix("--").replace("-", "_"))
            for definition in definitions
        ]
        if any(field is not None and "tuple[" in str(field.annotation) for field in fields):
            return (
                f"{said}: write several values with commas, {option} {','.join([value.rstrip(','), *left])}"
            )
    return f"{said}: `probe {arguments[0]} --help` lists what it takes; a path with spaces needs quotes"


def written(value: Any) -> str | None:
    """A default as it would be typed, 8/255 rather than 0.0313725; None where there is nothing to show."""
    if isinstance(value, float) and 0 < value < 1 and abs(value * 255 - round(value * 255)) < 1e-9:
        return f"{round(value * 255)}/255"
    if isinstance(value, tuple | list):
        value = ",".join(str(written(part)) for part in value)
    if value in (None, "", False):
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)
