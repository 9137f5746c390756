"""An interrupted cell: one line instead of a traceback, a clean network, and the results that were finished."""

import re
from typing import Any

import pytest

manager = pytest.importorskip("jupyter_client.manager")

pytestmark = pytest.mark.slow
START = """
import glob, tempfile, torch, probe
model = probe.load("vgg-shapes", device="cpu")
images, folder = probe.images("shapes:test"), tempfile.mkdtemp()
hooks = lambda: [len(module._forward_hooks) for module in model.network.modules()]
before = hooks()
"""


def execute(kernel: tuple[Any, Any], code: str, *, interrupt_at: str = "") -> list[tuple[str, Any]]:
    """What a cell displays, prints and raises. interrupt_at: a pattern in what it displays, at which it is interrupted."""
    owner, client = kernel
    sent, outputs, interrupted = client.execute(code), [], False
    while True:
        message = client.get_iopub_msg(timeout=120)
        if message["parent_header"].get("msg_id") != sent:
            continue
        kind, content = message["msg_type"], message["content"]
        if kind == "status" and content["execution_state"] == "idle":
            return outputs
        if kind in ("display_data", "update_display_data"):
            outputs.append(("shown", content["data"]["text/html"]))
            if interrupt_at and not interrupted and re.search(interrupt_at, outputs[-1][1]):
                owner.interrupt_kernel()
                interrupted = True
        elif kind == "error":
            outputs.append(("error", content))
        elif kind == "stream" and content["name"] == "stdout":
            outputs.append(("printed", content["text"].strip()))


def test_an_interrupted_cell_leaves_the_network_clean_and_partial_results() -> None:
    kernel = manager.start_new_kernel(kernel_name="python3")
    try:
        assert not execute(kernel, START)
        outputs = execute(kernel, "probe.run('neighbours', model, images)", interrupt_at="features")
        assert "<progress" in outputs[0][1]
        assert outputs[-2] == ("shown", ""), "the bar is removed"
        error = outputs[-1][1]
        assert error["ename"] == "Interrupted"
        assert error["evalue"] == "neighbours was interrupted"
        assert len(error["traceback"]) <= 3
        clean = "print(hooks() == before, model.network.training, any(p.requires_grad for p in model.network.parameters()))"
        assert execute(kernel, clean) == [("printed", "True False False")]
        outputs = execute(
            kernel, "probe.report(model, images.take(200), 'quick', out=folder)", interrupt_at=r"\([2-9] of"
        )
        assert outputs[-1][1]["evalue"].startswith("stopped after ")
        names = execute(kernel, "print(*probe.open_run(glob.glob(folder + '/*')[0]))")
        assert names[0][1].startswith("classify")
    finally:
        kernel[1].stop_channels()
        kernel[0].shutdown_kernel(now=True)
