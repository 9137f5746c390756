"""`python -m probe` and the command `probe`."""

import sys


def main() -> int:
    """Run the command line; returns its exit code: 0 done, 2 the user's mistake, 1 ours."""
    from probe.cli import main as command_line

    return command_line(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
