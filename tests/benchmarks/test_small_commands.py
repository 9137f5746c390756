"""What a small command costs beyond importing torch: processor seconds of whole processes, the least of three."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import probe

pytestmark = pytest.mark.slow
HOME = Path(probe.__file__).parents[1]


def seconds(*arguments: str) -> float:
    """Processor time of `python ...` on one thread: the machine may be busy with other work."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(HOME)}
    least = float("inf")
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        least = min(least, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return least


def test_classify_on_50_digits_takes_at_most_one_and_a_half_seconds_beyond_torch(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Results are not reused: each process writes into a folder of its own."""
    torch = seconds("-c", "import torch")
    code = (
        "import sys, tempfile; from probe.cli import main; folder = tempfile.mkdtemp(dir=sys.argv[1]);"
        "sys.exit(main(['classify', '--model', 'lenet5-digits', '--data', 'digits', '--n', '50', '--out', folder]))"
    )
    whole = seconds("-c", code, str(tmp_path_factory.mktemp("runs")))
    print(
        f"probe classify on 50 digits: {whole:.2f} s, {whole - torch:.2f} s beyond import torch ({torch:.2f} s)"
    )
    assert whole - torch <= 1.5
