"""The parser of the command line, built from the definitions of analyses and commands."""

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from cyclopts import (
    App,
    CycloptsError,
    Group,
    MissingArgumentError,
    Parameter,
    UnknownOptionError,
    UnusedCliTokensError,
)
from pydantic import BaseModel, ValidationError

import probe
from probe.analyses.registry import catalogue, find
from probe.cli.commands import COMMANDS
from probe.cli.options import Options
from probe.cli.report_commands import analysis_command
from probe.errors import UserError, unknown
from probe.params import error_message
from probe.renamed import renamed_parameter

ABOUT = """What did my CNN learn, what drives it, and how does it break?

A first report, on a model and images that are installed with probe:

    probe report

Your own checkpoint and images:

    probe adopt net.pth --arch file.py:make_net --classes names.txt --out mynet
    probe report --model mynet --data folder:photos
    probe fgsm --model mynet --data folder:photos --eps 8/255
"""

COMMAND_GROUP = Group("Main commands", sort_key=0)
ANALYSIS_GROUP = Group("Analyses", sort_key=1)


def run(arguments: list[str]) -> int:
    """Parse `arguments` and execute the command; returns its exit code. Raises UserError for invalid arguments."""
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
    """The parser, complete for the command `name` alone, and the definitions whose fields are the flags of that command.

    The other commands have a name and a help text: only the one that is called imports torch.
    """
    app = App(
        name="probe",
        help=ABOUT,
        version=probe.__version__,
        default_parameter=Parameter(negative_iterable=(), show_default=format_default),
        help_format="plaintext",  # Markdown would be imported for it, a tenth of the time that --help takes
        suppress_keyboard_interrupt=False,
    )
    definitions: list[type[BaseModel]] = [Options]
    for command, make in COMMANDS.items():
        function: Callable[..., Any] = _placeholder
        if command == name:
            function, fields = make()
            definitions += fields
        app.command(function, name=command, help=make.__doc__, group=COMMAND_GROUP)
    for entry in catalogue().values():
        function = _placeholder
        if entry.name == name:
            kind = find(name)
            function = analysis_command(kind)
            definitions.append(kind)
        app.command(function, name=entry.name, help=entry.question, group=ANALYSIS_GROUP)
    return app, definitions


def _placeholder() -> None:
    """Stands for each command that is not the one called."""


def _reason(error: CycloptsError, definitions: list[type[BaseModel]]) -> str:
    """What is wrong with the arguments, in one line."""
    cause = error.__cause__
    if isinstance(cause, ValidationError):
        for definition in definitions:
            if re.search(rf"\b{definition.__name__}\b", cause.title):
                return error_message(definition, cause)
    if isinstance(error, UnknownOptionError):
        option = (error.token.keyword or error.token.value).partition("=")[0]
        owners = [owner for kind in definitions for owner in (getattr(kind, "name", ""), kind.__name__)]
        if message := renamed_parameter(option, *owners):
            return message
        known = [name for argument in error.argument_collection for name in argument.names]
        return _unknown_option(option, (error.root_input_tokens or [""])[0], known)
    if isinstance(error, MissingArgumentError) and error.argument:
        return _missing(error.argument.name, error.root_input_tokens or [""])
    if isinstance(error, UnusedCliTokensError):
        return _unexpected(error.unused_tokens or [], error.root_input_tokens or [], definitions)
    return " ".join(str(error).split())


def _unknown_option(option: str, command: str, known: list[str]) -> str:
    """The message for an option that the command does not have, with the nearest ones or the analyses that have it."""
    near = get_close_matches(option, known, n=2, cutoff=0.75)
    message = f"`probe {command}` has no option {option}"
    if near:
        return f"{message}. Did you mean {' or '.join(near)}?"
    name = option.removeprefix("--").replace("-", "_")
    owners = [entry for entry in catalogue() if name in find(entry).model_fields]
    if owners and command == "report":
        return f"{message}: it is a parameter of {', '.join(owners)}; set it in a recipe, or run such an analysis alone"
    if owners:
        return f"{message}; {', '.join(owners)} {'have' if len(owners) > 1 else 'has'} it"
    return f"{message}: `probe {command} --help` lists them"


def _missing(name: str, arguments: list[str]) -> str:
    """The message for an argument or option without which the command cannot run, or an option without its value."""
    command = arguments[0]
    if name in arguments:
        return f"{name} needs a value: `probe {command} --help` describes it"
    name = name if name.startswith("-") else name.upper()
    return f"`probe {command}` needs {name}: `probe {command} --help` describes it"


def _unexpected(left: list[str], arguments: list[str], definitions: list[type[BaseModel]]) -> str:
    """The message for arguments that are left over: they may be further values of the option before them."""
    first = len(arguments) - len(left)
    while first > 0 and arguments[first : first + len(left)] != left:
        first -= 1
    message = f"unexpected argument{'s' if len(left) > 1 else ''} {' '.join(left)}"
    if first > 1 and arguments[first - 1].startswith("--") and "=" not in arguments[first - 1]:
        return f"{message}: {arguments[first - 1]} takes no value"
    if first > 1:
        option, value = arguments[first - 2 : first]
        fields = [
            definition.model_fields.get(option.removeprefix("--").replace("-", "_"))
            for definition in definitions
        ]
        if any(field is not None and "tuple[" in str(field.annotation) for field in fields):
            values = ",".join([value.rstrip(","), *left])
            return f"{message}: separate several values with commas, {option} {values}"
    return f"{message}: `probe {arguments[0]} --help` lists the arguments; a path with spaces needs quotes"


def format_default(value: Any) -> str | None:
    """A default as it would be typed, 8/255 rather than 0.0313725 but 0.2; None if there is nothing to print."""
    if isinstance(value, float) and 0 < value < 1 and float(f"{value:.4g}") != value:
        levels = round(value * 255, 1)
        if levels and abs(value * 255 - levels) < 1e-9:
            return f"{levels:g}/255"
    if isinstance(value, tuple | list):
        value = ",".join(str(format_default(part)) for part in value)
    if value is None or value is False or value == "":
        return None
    return f"{value:g}" if isinstance(value, float) else str(value)
