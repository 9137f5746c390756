"""The digits are those of scikit-learn, and so is their split."""

import subprocess
import sys

import numpy as np

from probe.data.digits import read_digits, split_rows


def test_pixels_labels_and_split_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    values, target = load_digits(return_X_y=True)
    pixels, labels = read_digits()
    assert np.array_equal(pixels.reshape(len(pixels), -1), values)
    assert np.array_equal(labels, target)
    train, test = train_test_split(np.arange(len(target)), stratify=target, random_state=0)
    rows = split_rows(labels)
    assert np.array_equal(rows["train"], np.sort(train))
    assert np.array_equal(rows["test"], np.sort(test))


def test_scikit_learn_is_not_imported_for_them() -> None:
    code = "import sys; from probe.data.digits import read_digits; read_digits(); print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
