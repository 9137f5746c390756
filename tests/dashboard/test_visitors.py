"""A browser is one visitor, in all its windows, by the cookie that Streamlit gives it."""

from types import SimpleNamespace

import pytest

from apps import visitors

SECRET = bytes(range(16, 32))


def cookie(mask: str, token: bytes = SECRET, time: int = 1_700_000_000) -> str:
    """As Tornado masks a token for a page: version, mask, masked token and time."""
    key = bytes.fromhex(mask)
    masked = bytes(byte ^ key[i % 4] for i, byte in enumerate(token))
    return f"2|{mask}|{masked.hex()}|{time}"


class Page:
    """The page that runs: its session and the cookies of its browser."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.active: set[str] = set()
        runtime = SimpleNamespace(is_active_session=lambda session: session in self.active)
        monkeypatch.setattr(visitors, "exists", lambda: True)
        monkeypatch.setattr(visitors, "get_instance", lambda: runtime)

    def visitor(self, session: str, value: str = "") -> str:
        """The name of the visitor for whom a page with this session and cookie runs."""
        context = SimpleNamespace(cookies={"_streamlit_xsrf": value} if value else {})
        self.monkeypatch.setattr(visitors, "get_script_run_ctx", lambda: SimpleNamespace(session_id=session))
        self.monkeypatch.setattr(visitors.st, "context", context)
        return visitors.visitor()


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch) -> Page:
    visitors._sessions().clear()
    return Page(monkeypatch)


def test_the_token_of_a_cookie_is_that_of_tornado_whatever_its_mask() -> None:
    websocket = pytest.importorskip("tornado.util")
    for mask in ("00000000", "01020304", "ffa07e11"):
        masked = websocket._websocket_mask(bytes.fromhex(mask), SECRET)
        assert visitors._token(f"2|{mask}|{masked.hex()}|1700000000") == SECRET
        assert visitors._token(f'"{cookie(mask)}"') == SECRET
    assert visitors._token("odd") == b"odd"
    assert visitors._token("") == b""


def test_windows_of_a_browser_are_one_visitor_and_browsers_are_several(page: Page) -> None:
    first = page.visitor("window 1", cookie("01020304"))
    assert page.visitor("window 2", cookie("ffa07e11", time=1_800_000_000)) == first
    assert page.visitor("window 3", cookie("01020304", token=SECRET[::-1])) != first


def test_without_a_cookie_every_window_is_a_visitor(page: Page) -> None:
    names = {page.visitor(f"window {i}") for i in range(3)}
    assert len(names) == 3


def test_a_visitor_is_present_while_one_of_its_windows_is_open(page: Page) -> None:
    name = page.visitor("window 1", cookie("01020304"))
    page.visitor("window 2", cookie("ffa07e11"))
    other = page.visitor("window 3")
    assert not visitors.present(name)
    page.active = {"window 2"}
    assert visitors.present(name)
    assert not visitors.present(other)
    assert not visitors.present("nobody")
