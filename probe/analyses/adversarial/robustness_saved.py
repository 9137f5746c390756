"""Adversarial images on disk: as they are in an NPZ file, and as PNG files whose names start with the class number."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from probe.analyses.adversarial.robustness_captions import grey_levels
from probe.analyses.adversarial.robustness_data import Adversarials, LabelledImages
from probe.atomic_files import replacing
from probe.errors import UserError
from probe.exhibits.exhibits import Table, facts_of
from probe.exhibits.wording import counted, format_eps, sentences
from probe.methods.adversarial.budget import Budget
from probe.methods.adversarial.criteria import Criterion, predict
from probe.methods.adversarial.norms import perturbation_norm
from probe.methods.adversarial.per_image_random import PerImageRng
from probe.methods.adversarial.quantisation import quantise_in_ball
from probe.methods.adversarial.suite import AttackCurves
from probe.regular_files import user_path

ARRAYS = "adversarials.npz"
IMAGES = "images"


def checked_folder(text: str) -> Path:
    """The folder; UserError where it holds something else than adversarial images already."""
    folder = Path(user_path(text))
    if folder.exists() and (
        not folder.is_dir() or (any(folder.iterdir()) and not (folder / ARRAYS).is_file())
    ):
        raise UserError(f"{folder} exists but contains no {ARRAYS}: choose a new folder")
    return folder


@dataclass(frozen=True)
class SavedFindings:
    """How many images were saved, how many are adversarial within `eps`, and how many still are as 8-bit PNG files.

    largest: change of a pixel in the PNG files, in [0, 1].
    """

    n: int
    eps: float
    fooled: int
    fooled_png: int
    largest: float


def saved_caption(f: SavedFindings) -> str:
    return sentences(
        f"{counted(f.n)} that the model classifies correctly were saved; {f.fooled} of them"
        f" {'is' if f.fooled == 1 else 'are'} adversarial within eps {format_eps(f.eps)}, the others are unchanged.",
        f"As PNG files of 8 bits, which change no pixel by more than {f.largest:.4f} ({grey_levels(f.largest)}),"
        f" {f.fooled_png} {'is' if f.fooled_png == 1 else 'are'} still fooled.",
    )


def save_adversarials(
    folder: Path, data: LabelledImages, curves: AttackCurves, adversarials: Adversarials, budget: Budget
) -> Table:
    """Write the images that are classified correctly, with the change that fools them where one within eps is known.

    Pixels are rounded to 8 bits inside of the eps ball. Where that undoes the smallest known change, the result of PGD
    that goes on after its first success is taken, which lies deeper in the other class.
    """
    eps = budget.eps[-1]
    rows, smallest = adversarials.of(np.flatnonzero(curves.correct))
    saved, encoded, sizes, fooled, still = [], [], [], [], []
    for part in torch.arange(len(rows)).split(data.batch):
        pixels, labels, ids = data.select(torch.from_numpy(rows[part.numpy()]))
        adversarial = torch.from_numpy(smallest[part.numpy()]).to(pixels)
        within = torch.from_numpy(curves.min_eps[rows[part.numpy()]] <= eps * (1 + 1e-6) + 1e-6)
        adversarial = torch.where(within.to(pixels.device)[:, None, None, None], adversarial, pixels)
        adversarial, quantised = _robust_to_rounding(data, pixels, labels, ids, adversarial, within, budget)
        criterion = Criterion(labels)
        saved.append(adversarial.cpu().numpy())
        encoded.append((quantised * 255).round().to(torch.uint8).cpu().numpy())
        sizes.append(perturbation_norm(quantised - pixels, "linf").cpu().numpy())
        fooled.append(criterion.is_adversarial(predict(data.model, adversarial)).cpu().numpy())
        still.append(criterion.is_adversarial(predict(data.model, quantised)).cpu().numpy())
    arrays = {
        "adversarials": np.concatenate(saved),
        "labels": curves.labels[rows],
        "fooled": np.concatenate(fooled),
        "fooled_png": np.concatenate(still),
        "min_eps": curves.min_eps[rows],
    }
    _write(folder, rows, np.concatenate(encoded), arrays)
    findings = SavedFindings(
        n=len(rows),
        eps=eps,
        fooled=int(arrays["fooled"].sum()),
        fooled_png=int(arrays["fooled_png"].sum()),
        largest=float(np.concatenate(sizes).max()),
    )
    return Table(
        title="Saved adversarial images",
        caption=saved_caption(findings),
        facts=facts_of(findings),
        columns=["file", "what", "images"],
        rows=[
            [str(folder / ARRAYS), "pixels in [0, 1] (n, c, h, w), labels, file names", len(rows)],
            [
                str(folder / IMAGES),
                f"PNG files, read by --data folder:{folder / IMAGES} --labels prefix",
                len(rows),
            ],
        ],
    )


def _robust_to_rounding(
    data: LabelledImages,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    ids: torch.Tensor,
    adversarial: torch.Tensor,
    within: torch.Tensor,
    budget: Budget,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The adversarial images and their rounded versions, attacked anew where rounding undoes the change."""
    eps, criterion = budget.eps[-1], Criterion(labels)
    quantised = quantise_in_ball(pixels, adversarial, eps)
    undone = within.to(pixels.device) & ~criterion.is_adversarial(predict(data.model, quantised))
    rows = undone.nonzero()[:, 0]
    if not len(rows):
        return adversarial, quantised
    attack = budget.search(eps=eps, steps=budget.pgd.steps).model_copy(update={"early_stop": False})
    rng = PerImageRng(budget.seed, ids[rows.cpu()], like=pixels[rows])
    result = attack.perturb(data.model, pixels[rows], criterion.take(rows), rng).pixels
    rounded = quantise_in_ball(pixels[rows], result, eps)
    better = criterion.take(rows).is_adversarial(predict(data.model, rounded))
    better &= criterion.take(rows).is_adversarial(predict(data.model, result))
    wide = better[:, None, None, None]
    return (
        adversarial.index_put((rows,), torch.where(wide, result, adversarial[rows])),
        quantised.index_put((rows,), torch.where(wide, rounded, quantised[rows])),
    )


def _write(folder: Path, rows: np.ndarray, levels: np.ndarray, arrays: dict[str, np.ndarray]) -> None:
    """The files. File names start with the class number, which is read back whatever the classes are called."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    for old in (folder / IMAGES).glob("*.png"):
        old.unlink()
    names = [f"{label:03d}-{row:05d}.png" for label, row in zip(arrays["labels"], rows, strict=True)]
    for name, image in zip(names, levels.transpose(0, 2, 3, 1), strict=True):
        Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(folder / IMAGES / name)
    with replacing(folder / ARRAYS) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, names=np.array(names), **arrays)
