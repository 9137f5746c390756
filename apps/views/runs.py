"""The runs on disk: open one, download its page, write its PDF."""

from pathlib import Path

import pandas as pd
import streamlit as st

from apps.session import out_folder, stop
from apps.show import plain, show_result
from probe.errors import UserError
from probe.reporting.document import Report
from probe.reporting.html import render
from probe.reporting.pdf import write_pdf
from probe.reporting.stored import FILE, read_report

_MOST = 500


def page() -> None:
    st.title("Runs")
    folder = out_folder()
    paths = sorted(folder.glob(f"*/{FILE}"), key=lambda path: path.stat().st_mtime, reverse=True)[:_MOST]
    if not paths:
        st.info(
            plain(
                f"There are no runs in {folder} yet: run an analysis here, or `probe report` on the command line."
            )
        )
        return
    names = [path.parent.name for path in paths]
    times = [pd.Timestamp(path.stat().st_mtime, unit="s").floor("s") for path in paths]
    table = pd.DataFrame({"run": names, "written": times})
    st.dataframe(table, hide_index=True, height=min(320, 40 + 35 * len(names)))
    name = st.selectbox("Run", names, key="run", bind="query-params")
    path = paths[names.index(name or names[0])].parent
    try:
        report = read_report(path)
    except UserError as error:
        stop(error)
        return
    _downloads(path, report)
    st.header(plain(report.title))
    about = [str(report.model.get("name", "")), str(report.data.get("name", ""))]
    st.caption(plain(" on ".join(part for part in about if part)))
    for section in report.sections:
        st.subheader(plain(section.title))
        if section.problem:
            st.error(plain(section.problem))
        if section.result:
            show_result(section.result, f"{path.name}-{section.anchor}")


def _downloads(path: Path, report: Report) -> None:
    columns = st.columns(3)
    page_path = path / "report.html"
    columns[0].download_button(
        "HTML report",
        lambda: page_path.read_bytes() if page_path.exists() else render(report).encode(),
        f"{path.name}.html",
        "text/html",
        on_click="ignore",
    )
    columns[1].download_button(
        "PDF report", lambda: _pdf(path, report), f"{path.name}.pdf", "application/pdf", on_click="ignore"
    )


def _pdf(path: Path, report: Report) -> bytes:
    write_pdf(path / "report.pdf", report)
    return (path / "report.pdf").read_bytes()


page()
