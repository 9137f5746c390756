"""What an analysis of synthesis returns when it was interrupted: the pictures of that moment, with a warning."""

from dataclasses import replace

from probe.errors import with_partial_result
from probe.exhibits.result import Result


def finished_or_stopped(result: Result, stopped: KeyboardInterrupt | None, reached: str) -> Result:
    """The result; where a signal has ended the optimisation, raise that with the result and a warning instead.

    reached: how far it was, such as "37 of 128 steps".
    """
    if stopped is None:
        return result
    warning = f"Interrupted after {reached}: the pictures show the state at that moment and are not stored as a result."
    raise with_partial_result(stopped, replace(result, warnings=[warning, *result.warnings]))
