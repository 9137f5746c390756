"""Earlier names of analyses, parameters and values, and the present ones, for error messages."""

ANALYSES = {
    "anatomy": "architecture",
    "patches": "top-patches",
    "statistics": "image-statistics",
    "training": "training-history",
    "trust": "attribution-tests",
    "tuning": "tuning-curves",
}

PARAMETERS: dict[str, dict[str, str]] = {
    "Options": {"other": "compare-to", "subject": "model"},
    "AdoptOptions": {"fit": "preprocess"},
    "Input": {"fit": "preprocess"},
    "TrainingConfig": {
        "batch": "batch-size",
        "fit": "preprocess",
        "half": "fp16",
        "keep-epochs": "save-epochs",
        "steps": "attack-steps",
    },
    "TransferConfig": {
        "batch": "batch-size",
        "head": "hidden-units",
        "images": "max-images",
        "last": "unfreeze",
    },
    "activations": {"pictures": "examples", "sample": "max-images"},
    "architecture": {"rows": "max-layers"},
    "attack-path": {"at-most": "max-images", "steps": "--attack 'pgd(steps=N)'"},
    "classify": {"pictures": "examples"},
    "embed": {"dims": "pca-components", "placed": "holdout"},
    "filters": {"most": "max-filters"},
    "image-statistics": {"classes": "max-classes"},
    "maximise": {
        "canvas": "parametrisation",
        "count": "n-units",
        "decay": "decay-power",
        "moves": "jitter",
        "rate": "lr",
    },
    "neighbours": {"count": "k"},
    "robustness": {
        "at-most": "max-images",
        "fragile": "examples",
        "per-class": "targets-per-class",
        "points": "eps-steps",
        "queries": "--attacks 'square(queries=N)'",
        "restarts": "--attacks 'pgd(restarts=N)'",
        "steps": "--attacks 'pgd(steps=N)'",
    },
    "top-patches": {"count": "top-k"},
    "training-history": {"level": "target-accuracy"},
    "tuning-curves": {"shown": "channels"},
}
"""By the name of an analysis or of the class that declares them, as they are written on the command line.

A parameter that moved into the methods which take it is written as it is given there, such as "--attacks
'pgd(steps=N)'".
"""

VALUES = {"ce": "cross-entropy", "logodds": "log-odds"}


def new_parameter(name: str, *owners: str) -> str:
    """The present name of the parameter `name` in the first of `owners` that had it; empty if none had.

    >>> new_parameter("subject", "fgsm", "Options"), new_parameter("eps", "fgsm", "Options")
    ('model', '')
    """
    key = name.removeprefix("--").replace("_", "-")
    return next((PARAMETERS[owner][key] for owner in owners if key in PARAMETERS.get(owner, {})), "")
