"""Who looks at a page: a browser is recognised by the cookie that Streamlit gives it, so that its windows are one visitor."""

import hashlib
import threading

import streamlit as st
from streamlit.runtime import exists, get_instance
from streamlit.runtime.scriptrunner import get_script_run_ctx

_COOKIE = "_streamlit_xsrf"
_LOCK = threading.Lock()


@st.cache_resource(show_spinner=False)
def _sessions() -> dict[str, set[str]]:
    """The sessions of each visitor: one for each window, and another one after it is reloaded."""
    return {}


def visitor() -> str:
    """The name of the one whose page runs now."""
    context = get_script_run_ctx()
    session = context.session_id if context is not None else ""
    cookie = st.context.cookies.get(_COOKIE, "") if context is not None else ""
    cookie = cookie if isinstance(cookie, str) else ""  # none in a test of a page
    name = hashlib.sha256(_token(cookie) or session.encode()).hexdigest()[:16]
    with _LOCK:
        _sessions().setdefault(name, set()).add(session)
    return name


def _token(cookie: str) -> bytes:
    """What stays the same in a cookie "2|mask|masked token|time", which each page that is opened masks anew."""
    try:
        _, mask, masked, _ = cookie.strip("\"'").split("|")
        key, content = bytes.fromhex(mask), bytes.fromhex(masked)
        return bytes(byte ^ key[i % len(key)] for i, byte in enumerate(content))
    except (ValueError, ZeroDivisionError):
        return cookie.encode()


def present(name: str) -> bool:
    """Whether a visitor has a page open."""
    with _LOCK:
        sessions = list(_sessions().get(name, ()))
    return exists() and any(get_instance().is_active_session(session) for session in sessions)
