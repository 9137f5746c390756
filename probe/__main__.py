"""`python -m probe` and the command `probe`."""

import os
import sys


def main() -> int:
    """Run the command line; returns its exit code: 0 done, 2 the user's mistake, 1 ours."""
    # Threads that wait for each other go to sleep instead of spinning: where the cores are shared with other work,
    # spinning made a forward pass two to four times slower. OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from probe.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
