"""Uploaded checkpoints: the same upload neither disturbs the job that reads it nor is left on the disk."""

from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from probe.paths import APPS


def _import_twice() -> None:
    import io

    import streamlit as st
    import torch

    from apps.session import imported_models, jobs
    from apps.views.importing import _submit
    from probe.zoo import build

    file = io.BytesIO()
    torch.save(build("lenet5").state_dict(), file)
    st.session_state["submitted"] = []
    for _ in range(2):
        values = {"arch": "zoo:lenet5", "mean": "0.5", "std": "0.5"}
        job = jobs().get(_submit("net.pth", file.getbuffer(), values))
        assert job is not None
        job.wait(30)
        st.session_state["submitted"].append(job)
    imported_models().clear()


def test_a_checkpoint_that_is_imported_twice_is_read_once_and_not_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(APPS.parent))
    app = AppTest.from_function(_import_twice, default_timeout=60).run()
    assert not app.exception
    first, second = app.session_state["submitted"]
    assert first is second
    assert first.status == "finished", first.error
    upload = Path(first.result).parent
    assert [path.name for path in upload.iterdir()] == ["net"]
