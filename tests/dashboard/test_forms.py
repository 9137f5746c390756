from pathlib import Path

import pytest

from apps.forms import make, names_picture, picture_fields
from apps.show import plain
from probe.analyses import catalogue, find
from probe.errors import UserError


def test_a_page_reads_no_files_of_the_server(tmp_path: Path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"")
    for path in (str(secret), "../../etc/passwd", "/etc/passwd"):
        with pytest.raises(UserError, match="upload the picture instead"):
            make(find("dream"), {"image": path})
    assert make(find("dream"), {"image": "china.jpg"}).reads() == ("china.jpg",)


def test_a_page_reads_no_checkpoints_of_the_server(tmp_path: Path):
    checkpoint = tmp_path / "secret.pth"
    checkpoint.write_bytes(b"")
    for values in ({"towards": str(checkpoint)}, {"towards": f"vgg-shapes,{tmp_path}"}):
        with pytest.raises(UserError, match="pages cannot read files on the server"):
            make(find("surface"), values)
    assert make(find("surface"), {"towards": "vgg-shapes-shortcut"}).files() == []


def test_a_page_writes_no_files(tmp_path: Path):
    with pytest.raises(UserError, match="pages cannot write files"):
        make(find("dream"), {"save": str(tmp_path / "a.png")})
    assert not list(tmp_path.iterdir())


def test_invalid_parameters_are_the_one_line_of_the_command_line():
    with pytest.raises(
        UserError, match=r"eps must lie in \(0, 1\], got 8: for eight grey levels write 8/255"
    ):
        make(find("fgsm"), {"eps": "8"})


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_picture_that_an_analysis_reads_is_an_upload(name: str):
    kind = find(name)
    fields = picture_fields(kind)
    if kind.reads is not find("classify").reads:  # it reads pictures
        assert fields, f"{name} reads pictures, but none of its fields says so"
    assert all(names_picture(kind.model_fields[field]) for field in fields)


@pytest.mark.parametrize(
    "text",
    [
        "**b**",
        "[a](http://x)",
        "`c`",
        ":red[x]",
        "$x^2$",
        "<script>",
        "# h",
        "1. x",
        "![i](j)",
        "a_b_c",
        "~~s~~",
    ],
)
def test_text_from_strangers_is_no_markdown(text: str):
    escaped = plain(text)
    assert escaped.replace("\\", "") == text
    special = [c for c in text if not c.isalnum() and c not in " /"]
    assert all(f"\\{c}" in escaped for c in special)
