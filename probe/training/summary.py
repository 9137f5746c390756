"""The results of a training or transfer as lines of text, for the command line."""

from collections.abc import Mapping
from typing import Any

from probe.exhibits.wording import counted


def format_results(results: Mapping[str, Any]) -> list[str]:
    """The results of a card, a line each; what a card does not have is left out.

    >>> format_results({"test_accuracy": 0.9, "test_images": 450, "test_split": "digits:test"})
    ['test accuracy: 90.00% (450 images of digits:test)']
    """
    lines = []
    if (accuracy := results.get("test_accuracy")) is not None:
        details = [f"{counted(results['test_images'])} of {results['test_split']}"]
        if (interval := results.get("test_accuracy_interval")) is not None:
            details.insert(0, "95% interval {:.2%} to {:.2%}".format(*interval))
        lines.append(f"test accuracy: {accuracy:.2%} ({', '.join(details)})")
    if (accuracy := results.get("train_accuracy")) is not None:
        lines.append(f"training accuracy: {accuracy:.2%} ({counted(results['train_images'])})")
    if (accuracy := results.get("robust_accuracy")) is not None:
        lines.append(
            f"robust accuracy: {accuracy:.2%} ({counted(results['robust_images'])}; {results['robust_attack']})"
        )
    if (published := results.get("published")) is not None:
        lines.append(
            f"published test accuracy: {published['test_accuracy']:.2%} on {published['data']} ({published['source']})"
        )
    if (strategies := results.get("strategies")) is not None:
        lines.append("test accuracy by strategy:")
        saved = results.get("strategy")
        lines += [
            f"  {name}: {accuracy:.2%}{' (saved)' if name == saved else ''}"
            for name, accuracy in strategies.items()
        ]
    if (gain := results.get("gain_over_scratch")) is not None:
        lines.append(f"gain over training from scratch: {100 * gain:.1f} percentage points")
    return lines
