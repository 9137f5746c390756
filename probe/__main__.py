"""`python -m probe` and the command `probe`."""

import os
import sys


def main() -> int:
    """Run the command line; returns its exit code: 0 done, 1 internal error, 2 user error, 130 interrupted."""
    # Waiting threads spin for about a tenth of a millisecond and then sleep. OpenMP's default, to keep spinning, made a
    # forward pass two to four times slower on shared cores; sleeping at once made a training step 15 % slower on idle
    # ones. The variable is read when torch is imported.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    from probe.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
