"""Earlier names of analyses, methods, parameters and values, so that errors can give the present ones."""

NAMES: dict[str, dict[str, str]] = {
    "analysis": {
        "anatomy": "architecture",
        "patches": "top-patches",
        "statistics": "image-statistics",
        "training": "training-history",
        "trust": "attribution-tests",
        "tuning": "tuning-curves",
    },
    "attribution method": {
        "gradient_input": "gradient-input",
        "guided": "guided-backprop",
        "guided_gradcam": "guided-gradcam",
        "integrated_gradients": "integrated-gradients",
    },
}
"""By the kind of thing that has the name."""

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
        "images": "n",
        "last": "unfreeze",
        "max-images": "n",
    },
    "activations": {"pictures": "examples", "sample": "max-images"},
    "architecture": {"rows": "max-layers"},
    "attack-path": {"at-most": "max-images", "steps": "attack=pgd(steps=N)"},
    "attribution": {
        "baseline": "methods=integrated-gradients(baseline=X)",
        "layer": "methods=gradcam(layer=ADDRESS)",
        "noise": "methods=smoothgrad(noise=X)",
        "samples": "methods=smoothgrad(samples=N)",
        "share": "box-threshold",
        "steps": "methods=integrated-gradients(steps=N)",
        "window": "methods=occlusion(window=N)",
    },
    "attribution-tests": {
        "count": "max-images",
        "layer": "methods=gradcam(layer=ADDRESS)",
        "points": "curve-points",
        "samples": "methods=smoothgrad(samples=N)",
        "steps": "methods=integrated-gradients(steps=N)",
        "tested": "test-images",
        "window": "methods=occlusion(window=N)",
    },
    "classify": {"pictures": "examples"},
    "compare": {
        "samples": "methods=smoothgrad(samples=N)",
        "steps": "methods=integrated-gradients(steps=N)",
    },
    "embed": {"dims": "pca-components", "placed": "holdout"},
    "fgsm": {"at-most": "max-images", "points": "eps-steps"},
    "filters": {"most": "max-filters"},
    "image-statistics": {"classes": "max-classes"},
    "maximise": {
        "bf16": "precision",
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
        "queries": "attacks=square(queries=N)",
        "restarts": "attacks=pgd(restarts=N)",
        "steps": "attacks=pgd(steps=N)",
    },
    "top-patches": {"count": "top-k"},
    "training-history": {"level": "target-accuracy"},
    "transferability": {"at-most": "max-images", "steps": "attacks=pgd(steps=N)"},
    "tuning-curves": {"shown": "channels"},
}
"""By the name of an analysis, or of the class that declares the parameters.

One that moved into a method is written with it: "attacks=pgd(steps=N)".
"""

VALUES = {"ce": "cross-entropy", "logodds": "log-odds"}


def renamed_parameter(name: str, *owners: str) -> str:
    """What became of the parameter `name` in the first of `owners` that had it, in one line; empty if none had.

    name: as it was given, a flag or a key. owners: keys of PARAMETERS.

    >>> renamed_parameter("--at-most", "fgsm", "Options"), renamed_parameter("at_most", "fgsm")
    ('--at-most is now called --max-images', 'at_most is now called max_images')
    >>> renamed_parameter("--steps", "robustness")
    "--steps is now a parameter of the method: --attacks 'pgd(steps=N)'"
    >>> renamed_parameter("eps", "fgsm")
    ''
    """
    key = name.removeprefix("--").replace("_", "-")
    new = next((PARAMETERS[owner][key] for owner in owners if key in PARAMETERS.get(owner, {})), "")
    parameter, _, method = new.partition("=")
    flag = name.startswith("--")
    written = f"--{parameter}" if flag else parameter.replace("-", "_")
    if method:
        given = f"{written} '{method}'" if flag else f'{written} = "{method}"'
        return f"{name} is now a parameter of the method: {given}"
    return f"{name} is now called {written}" if new else ""
