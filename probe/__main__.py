"""`python -m probe` and the command `probe`."""

import os
import sys


def main() -> int:
    """Run the command line; returns its exit code: 0 done, 2 the user's mistake, 1 ours."""
    # Threads that wait for each other spin for about a tenth of a millisecond and then sleep. Spinning on, OpenMP's
    # own way, made a forward pass two to four times slower on shared cores; sleeping at once, a training step 15 %
    # slower on idle ones. Read when torch is loaded.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from probe.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
