"""A page of one file in headless Chromium with the network cut: images, script, sorting, width."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from probe.reporting.html import render
from tests.reporting.examples import report, small

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--virtual-time-budget=3000",
]


def browse(folder: Path, page: str, *flags: str) -> str:
    """Open a page in Chromium with the network cut; the document as it stands afterwards."""
    assert CHROMIUM
    (folder / "page.html").write_text(page, encoding="utf-8")
    cut = ["--host-resolver-rules=MAP * ~NOTFOUND", "--proxy-server=127.0.0.1:9"]
    command = [
        CHROMIUM,
        *FLAGS,
        *cut,
        f"--user-data-dir={folder / 'profile'}",
        *flags,
        (folder / "page.html").as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.fixture(scope="module")
def text() -> str:
    return render(report())


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")
class TestInABrowser:
    def test_all_images_are_shown_offline(self, tmp_path: Path, text: str):
        probe = """<script>addEventListener("load", () => { const all = [...document.images];
          document.body.dataset.seen = all.filter((i) => i.complete && i.naturalWidth > 0).length + "/" + all.length; });</script>"""
        opened = text.replace("</body>", probe + "</body>").replace(
            "script-src ", "script-src 'unsafe-inline' "
        )
        opened = re.sub(r"'sha256-[^']+'", "", opened)
        assert 'data-seen="2/2"' in browse(tmp_path, opened, "--dump-dom")

    def test_the_script_runs_under_the_content_policy(self, tmp_path: Path, text: str):
        assert 'aria-current="true"' in browse(tmp_path, text, "--dump-dom")

    def test_a_click_on_a_header_sorts_and_the_next_reverses(self, tmp_path: Path):
        press = """<script>for (const n of [1, 2]) { document.querySelectorAll("th button")[1].click();
          document.body.dataset["order" + n] = [...document.querySelectorAll("tbody td:nth-child(2)")].map((c) => c.dataset.v).join(); }
          </script></body>"""
        opened = re.sub(r"'sha256-[^']+'", "'unsafe-inline'", render(small()).replace("</body>", press))
        seen = browse(tmp_path, opened, "--dump-dom")
        assert 'data-order1="-3,64,128"' in seen
        assert 'data-order2="128,64,-3"' in seen

    def test_the_page_is_no_wider_than_a_narrow_window(self, tmp_path: Path, text: str):
        frame = """<body style="margin:0"><iframe id="f" style="width:400px;height:900px;border:0" srcdoc="{}"></iframe>
          <script>f.onload = () => {{ document.body.dataset.wide = f.contentDocument.documentElement.scrollWidth; }};</script>"""
        escaped = text.replace("&", "&amp;").replace('"', "&quot;")
        assert 'data-wide="400"' in browse(tmp_path, frame.format(escaped), "--dump-dom")
