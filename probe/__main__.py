"""`python -m probe` and the command `probe`."""

import io
import os
import sys

from probe import interrupts


def main() -> int:
    """Run the command line; returns its exit code: 0 done, 1 internal error, 2 user error, 130 interrupted, 143 terminated."""
    interrupts.install()
    # What a terminal or pipe cannot encode is escaped, instead of ending the command once its work is done.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Waiting threads spin for about a tenth of a millisecond and then sleep. OpenMP's default, to keep spinning, made a
    # forward pass two to four times slower on shared cores; sleeping at once made a training step 15 % slower on idle
    # ones. The variable is read when torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from probe.cli import main as command_line

    with interrupts.raised():
        return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
