"""Folders and zips of pictures, good and bad."""

# Labels, masks and bytes may be None in general, and are not in these cases.

import io
import os
import pickle
import threading
import zipfile
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from probe.data import file_store as files
from probe.data import folders, image_files
from probe.data.sources import open_images
from probe.errors import UserError


def picture(seed=0, size=(12, 10), mode="RGB"):
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).convert(mode)


def encoded(image, kind="PNG", **more):
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path):
    """Two classes with three pictures each."""
    for c, name in enumerate(["cat", "dog"]):
        (tmp_path / name).mkdir()
        for i in range(3):
            (tmp_path / name / f"{i}.png").write_bytes(encoded(picture(10 * c + i)))
    return tmp_path


def test_a_folder_per_class_gives_labels_in_sorted_order(folder):
    images = open_images(f"folder:{folder}")
    assert images.classes == ("cat", "dog")
    assert images.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.ids[4] == "dog/1.png"
    assert images.shape == (3, 12, 10)
    wanted = np.stack([np.asarray(picture(i)) for i in (0, 1, 2, 10, 11, 12)])
    assert np.array_equal((images.pixels() * 255).round().byte().permute(0, 2, 3, 1).numpy(), wanted)


def test_folders_of_classes_may_be_links_and_links_that_lead_back_are_not_followed(folder, tmp_path_factory):
    """A part of a large set is often a folder of links to some of its classes."""
    part = tmp_path_factory.mktemp("part")
    (part / "cat").symlink_to(folder / "cat")
    (part / "hound").symlink_to(folder / "dog")
    (folder / "cat" / "self").symlink_to(".")
    (folder / "dog" / "up").symlink_to(part)
    images = open_images(f"folder:{part}")
    assert images.classes == ("cat", "hound")
    assert list(images.ids) == [f"{c}/{i}.png" for c in images.classes for i in range(3)]
    assert open_images(f"folder:{folder / 'cat'}").ids == ("0.png", "1.png", "2.png")
    assert images.notes == ()
    assert images.bytes() is None
    batches = list(images.batches(4))
    assert [len(batch.pixels) for batch in batches] == [4, 2]
    assert torch.equal(torch.cat([batch.pixels for batch in batches]), images.pixels())


def test_a_flat_folder_has_no_labels(tmp_path):
    for kind in ("png", "jpeg", "webp", "bmp"):
        (tmp_path / f"x.{kind}").write_bytes(encoded(picture(), kind))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.png").write_bytes(b"")
    images = open_images(f"folder:{tmp_path}")
    assert list(images.ids) == ["x.bmp", "x.jpeg", "x.png", "x.webp"]
    assert images.labels is None
    assert images.classes is None
    assert torch.equal(images.pixels()[0], images.pixels()[2])


def test_a_zip_gives_the_same_images_and_digest_as_a_folder(folder, tmp_path_factory):
    packed = tmp_path_factory.mktemp("zip") / "set.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        for file in sorted(folder.rglob("*.png")):
            out.write(file, file.relative_to(folder))
            out.write(file, "test" / file.relative_to(folder))
    inner, plain = open_images(f"folder:{packed}/test"), open_images(f"folder:{folder}")
    assert torch.equal(inner.pixels(), plain.pixels())
    assert inner.digest == plain.digest
    assert inner.classes == plain.classes


def test_the_digest_of_files_depends_on_content_order_and_preprocessing(folder):
    images = open_images(f"folder:{folder}")
    fitted = images.preprocessed((3, 8, 8), "resize 8, centre crop 8")
    turned = images.select([1, 0, 2, 3, 4, 5])
    first = images.digest
    (folder / "cat" / "0.png").write_bytes(encoded(picture(99)))
    assert len({first, fitted.digest, turned.digest, open_images(f"folder:{folder}").digest}) == 4


def test_a_folder_with_splits_is_refused_with_their_paths(folder):
    (folder / "cat").rename(folder / "train")
    (folder / "dog").rename(folder / "test")
    with pytest.raises(UserError, match=r"contains test and train: choose one of them, such as .*/test"):
        open_images(f"folder:{folder}")


# Bad files


def png_of(width, height):
    """A PNG whose header claims a size, with next to nothing behind it."""

    def chunk(kind, body):
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    body = chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])) + chunk(b"IDAT", zlib.compress(b"\0" * 64))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


BAD = {
    "empty": b"",
    "text": b"this is no picture at all",
    "gif": encoded(Image.new("P", (4, 4)), "GIF"),
    "truncated png": encoded(picture(size=(64, 64)))[:2000],
    "truncated jpeg": encoded(picture(size=(64, 64)), "JPEG")[:1500],
    "truncated webp": encoded(picture(size=(64, 64)), "WEBP")[:400],
    "truncated bmp": encoded(picture(size=(64, 64)), "BMP")[:400],
    "only a header": encoded(picture())[:20],
    "zero size": png_of(0, 0),
    "bomb that warns": png_of(10_000, 10_000),
    "bomb that stops": png_of(50_000, 50_000),
    "noise behind a signature": b"\xff\xd8\xff\xe0" + bytes(range(256)),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_file_is_skipped_with_a_note_and_refused_when_alone(folder, kind):
    (folder / "dog" / "bad.png").write_bytes(BAD[kind])
    images = open_images(f"folder:{folder}")
    assert len(images) == 6
    assert images.pixels().shape == (6, 3, 12, 10)
    assert images.notes[0].startswith("1 file could not be read and was skipped: dog/bad.png (")
    alone = folder / "alone"
    alone.mkdir()
    (alone / "bad.png").write_bytes(BAD[kind])
    with pytest.raises(UserError, match=r"contains no readable images: bad\.png") as caught:
        open_images(f"folder:{alone}")
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_before_its_pixels_are_made(folder, monkeypatch):
    def refuse(image):
        raise AssertionError("decoded")

    monkeypatch.setattr(image_files, "_load", refuse)
    with pytest.raises(image_files.UnreadableFile, match="too many pixels"):
        image_files.decode(png_of(9_500, 9_500), 3)


def test_several_bad_files_are_counted_and_a_few_named(folder):
    for i in range(9):
        (folder / "dog" / f"bad{i}.png").write_bytes(b"")
    note = open_images(f"folder:{folder}").notes[0]
    assert note.startswith("9 files could not be read and were skipped: ")
    assert note.endswith(" and 4 more.")


def test_a_file_that_is_damaged_after_opening_is_named(folder):
    images = open_images(f"folder:{folder}")
    (folder / "dog" / "1.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"dog/1.png could not be decoded \(empty\)"):
        images.pixels()


def test_of_a_large_folder_only_the_sampled_files_are_decoded_on_opening(folder, monkeypatch):
    whole = encoded(picture(size=(64, 64)), "JPEG")
    for i in range(20):
        (folder / "cat" / f"late{i}.jpg").write_bytes(whole[: len(whole) - 600])
    monkeypatch.setattr(folders, "MAX_CHECKED", 10)
    assert len(open_images(f"folder:{folder}")) == 26
    drawn = open_images(f"folder:{folder}", n=10)
    broken = [name for name in drawn.ids if "late" in name]
    assert not broken
    assert len(drawn) < 10
    assert "truncated" in drawn.notes[0]


def test_files_of_a_large_folder_are_read_again_only_if_their_size_or_time_differs(
    folder, tmp_path_factory, monkeypatch
):
    monkeypatch.setenv("PROBE_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(folders, "MAX_CHECKED", 2)
    reads: list[str] = []
    plain = image_files.Archive.read

    def read(archive, name):
        reads.append(name)
        return plain(archive, name)

    monkeypatch.setattr(image_files.Archive, "read", read)
    first = open_images(f"folder:{folder}")
    assert sorted(reads) == sorted(first.ids)
    reads.clear()
    again = open_images(f"folder:{folder}")
    assert reads == []
    assert again.digest == first.digest
    assert again.notes == first.notes  # which are part of the keys of results
    (folder / first.ids[1]).write_bytes(encoded(picture(size=(9, 7))))
    changed = open_images(f"folder:{folder}")
    assert reads == [first.ids[1]]
    assert changed.digest != first.digest


def test_a_sample_of_a_large_folder_reads_the_sampled_files_alone(folder, monkeypatch):
    whole = open_images(f"folder:{folder}", n=4, seed=3)
    monkeypatch.setattr(folders, "MAX_CHECKED", 5)
    monkeypatch.setattr(files, "cached_checks", None)
    sample = open_images(f"folder:{folder}", n=4, seed=3)
    assert (sample.ids, sample.notes, sample.classes) == (whole.ids, whole.notes, whole.classes)
    assert torch.equal(sample.labels, whole.labels)
    assert sample.digest == whole.digest


@pytest.mark.parametrize("spec", ["folder:", "folder:/nowhere/at/all"])
def test_a_folder_that_does_not_exist_is_one_line(spec):
    with pytest.raises(UserError):
        open_images(spec)


def test_an_empty_folder_and_a_broken_zip_are_one_line(tmp_path):
    with pytest.raises(UserError, match="contains no images: supported formats are png"):
        open_images(f"folder:{tmp_path}")
    (tmp_path / "x.zip").write_bytes(b"PK\x03\x04 but no more")
    with pytest.raises(UserError, match="neither a folder nor a readable zip"):
        open_images(f"folder:{tmp_path}/x.zip")


# Kinds of pixel


def test_transparency_is_composed_on_white(tmp_path):
    clear = picture().convert("RGBA")
    clear.putalpha(0)
    (tmp_path / "rgba.png").write_bytes(encoded(clear))
    palette = picture().quantize(8)
    (tmp_path / "palette.png").write_bytes(encoded(palette, transparency=0))
    pixels = open_images(f"folder:{tmp_path}").pixels()
    assert bool((pixels[1] == 1).all())
    hidden = torch.from_numpy(np.asarray(palette) == 0)
    assert hidden.any()
    assert bool((pixels[0][:, hidden] == 1).all())


def test_sixteen_bits_are_converted_to_eight_and_stay_grey(tmp_path):
    deep = np.linspace(0, 65535, 120).astype(np.uint16).reshape(12, 10)
    (tmp_path / "deep.png").write_bytes(encoded(Image.fromarray(deep)))
    images = open_images(f"folder:{tmp_path}")
    assert images.shape == (1, 12, 10)
    assert np.abs(images.pixels()[0, 0].numpy() - deep / 65535).max() <= 0.51 / 255


def test_cmyk_and_palette_files_are_read_in_their_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    (tmp_path / "cmyk.jpg").write_bytes(encoded(red.convert("CMYK"), "JPEG", quality=95))
    (tmp_path / "palette.png").write_bytes(encoded(red.quantize(2)))
    images = open_images(f"folder:{tmp_path}")
    assert list(images.ids) == ["cmyk.jpg", "palette.png"]
    for image in images.pixels():
        assert image[0].min() > 0.95
        assert image[1:].max() < 0.05


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_as_pillow_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "a.png").write_bytes(encoded(picture(size=(24, 16)), exif=exif))
    with Image.open(tmp_path / "a.png") as image:
        upright = ImageOps.exif_transpose(image)
    images = open_images(f"folder:{tmp_path}")
    assert images.shape == (3, upright.height, upright.width)
    assert np.array_equal(
        (images.pixels()[0] * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(upright)
    )


def test_grey_and_colour_files_together_are_colour(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(picture(mode="L")))
    (tmp_path / "b.png").write_bytes(encoded(picture()))
    pixels = open_images(f"folder:{tmp_path}").pixels()
    assert pixels.shape == (2, 3, 12, 10)
    assert torch.equal(pixels[0, 0], pixels[0, 2])


def test_files_of_different_sizes_need_preprocessing(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(picture(size=(20, 30))))
    (tmp_path / "b.png").write_bytes(encoded(picture(size=(40, 30))))
    images = open_images(f"folder:{tmp_path}")
    with pytest.raises(UserError, match="differ in size"):
        images.pixels()
    fitted = images.preprocessed((1, 16, 16), "resize 16, centre crop 16")
    assert fitted.pixels().shape == (2, 1, 16, 16)
    assert fitted.notes == (
        "Differently sized colour images were resized to a shorter side of 16, cropped at the centre to "
        "16 x 16 and converted to grey (Rec. 601 luma).",
    )


# Labels


def test_labels_come_from_the_file_names(tmp_path):
    for name in ("007_a.png", "12.png"):
        (tmp_path / name).write_bytes(encoded(picture()))
    assert open_images(f"folder:{tmp_path}", labels="prefix").labels.tolist() == [7, 12]
    (tmp_path / "x.png").write_bytes(encoded(picture()))
    with pytest.raises(UserError, match=r"start with a number, got x\.png"):
        open_images(f"folder:{tmp_path}", labels="prefix")


def test_labels_come_from_a_table(folder):
    table = folder / "labels.csv"
    table.write_text(
        "file,class\n" + "\n".join(f"{c}/{i}.png,{c}{i}" for c in ("cat", "dog") for i in range(3))
    )
    images = open_images(f"folder:{folder}", labels=str(table))
    assert images.classes == ("cat0", "cat1", "cat2", "dog0", "dog1", "dog2")
    assert images.labels.tolist() == list(range(6))
    table.write_text("0.png,4\n1.png,0\n2.png,1\n")
    assert open_images(f"folder:{folder}", labels=str(table)).labels.tolist() == [4, 0, 1, 4, 0, 1]
    for text, message in (("0.png,4\n", "no row for cat/1.png"), ("0.png\n", "must have two columns")):
        table.write_text(text)
        with pytest.raises(UserError, match=message):
            open_images(f"folder:{folder}", labels=str(table))
    with pytest.raises(UserError, match="cannot be read"):
        open_images(f"folder:{folder}", labels="nowhere.csv")


# Streaming


def test_a_folder_is_streamed_a_window_at_a_time(tmp_path, monkeypatch):
    for i in range(120):
        (tmp_path / f"{i:03}.png").write_bytes(encoded(picture(i)))
    images = open_images(f"folder:{tmp_path}")
    started = []
    plain = image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda *a: started.append(1) or plain(*a))
    window = 10 + 2 * files._GROUP * files._workers()
    for done, batch in enumerate(images.batches(10)):
        assert len(batch.pixels) == 10
        assert len(started) <= 10 * (done + 1) + window
    assert len(started) == 120


def test_a_stream_that_is_closed_early_stops_its_threads(tmp_path):
    for i in range(40):
        (tmp_path / f"{i}.png").write_bytes(encoded(picture(i)))
    stream = open_images(f"folder:{tmp_path}").batches(2)
    next(stream)
    stream.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("probe-data")]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_file_that_may_not_be_read_is_skipped(folder):
    (folder / "cat" / "0.png").chmod(0)
    assert "not readable" in open_images(f"folder:{folder}").notes[0]


def test_files_that_are_too_large_are_skipped_before_they_are_read(folder, tmp_path_factory, monkeypatch):
    (folder / "dog" / "large.png").write_bytes(encoded(picture(size=(64, 64))))
    packed = tmp_path_factory.mktemp("zip") / "set.zip"
    with zipfile.ZipFile(packed, "w") as out:
        for file in sorted(folder.rglob("*.png")):
            out.write(file, file.relative_to(folder))
    sizes = sorted(file.stat().st_size for file in folder.rglob("*.png"))
    monkeypatch.setattr(image_files, "MAX_BYTES", sizes[-1] - 1)
    for source in (folder, packed):
        images = open_images(f"folder:{source}")
        assert len(images) == 6
        assert "dog/large.png (too large)" in images.notes[0]


def test_files_that_an_archiver_adds_are_no_images(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as out:
        for name in ("a.png", "__MACOSX/b.png", ".c.png", ".d/e.png"):
            out.writestr(name, encoded(picture()))
    assert list(open_images(f"folder:{tmp_path}/set.zip").ids) == ["a.png"]


@pytest.mark.parametrize("inside", ["", "/test", "/test/more", "/test/more/yet"])
def test_an_archive_that_was_pickled_reads_the_same_files(tmp_path, inside):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as out:
        for number, parent in enumerate(("", "test/", "test/more/", "test/more/yet/")):
            out.writestr(f"{parent}x.png", encoded(picture(number)))
    archive = image_files.Archive.open(tmp_path / f"set.zip{inside}")
    again = pickle.loads(pickle.dumps(archive))
    assert again.names == archive.names
    assert [again.read(name) for name in again.names] == [archive.read(name) for name in archive.names]


def test_no_more_than_a_window_is_computed_ahead():
    started = []
    results = files.map_ahead(lambda item: started.append(item) or item, range(100), 5, threads=2)
    for done, item in enumerate(results):
        assert item == done
        assert len(started) <= done + 5
