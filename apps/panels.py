"""A panel that runs one analysis in the background: its parameters, progress, cancellation, and its result."""

from collections.abc import Callable
from typing import Any

import streamlit as st

from apps.forms import make, parameter_form, picture_fields, picture_input
from apps.jobs import Job
from apps.session import Choice, jobs, model_name, out_folder, page_link, prepared_images
from apps.show import plain, show_result
from apps.visitors import present, visitor
from probe.analyses import catalogue, find
from probe.analyses.analysis import Analysis
from probe.data.images import no_images
from probe.errors import UserError
from probe.exhibits.result import Result
from probe.model.loading import load
from probe.reporting.recipes import Recipe
from probe.reporting.report import ReportResult, report
from probe.runs.provenance import digest

_PATIENCE = 0.3  # seconds that a page waits for a job before it shows progress: many end in that time
_PERIOD = 0.5  # seconds between two looks at the progress
_LISTED = 4


def analyses_of(room: str) -> list[str]:
    """The analyses of a field."""
    return [name for name, entry in catalogue().items() if entry.module.split(".")[2] == room]


def analysis_tabs(room: str, choice: Choice, *, without: tuple[str, ...] = ()) -> None:
    """A tab for each analysis of a field."""
    names = [name for name in analyses_of(room) if name not in without]
    if not names:
        return
    for tab, name in zip(st.tabs([find(name).title for name in names]), names, strict=True):
        with tab:
            analysis_panel(name, choice)


def analysis_panel(
    name: str,
    choice: Choice,
    *,
    compare_to: tuple[str, ...] | None = None,
    question: str = "",
    show: Callable[[Result, str], None] = show_result,
    **fixed: Any,
) -> None:
    """The question, the parameters, a button, and the result of an analysis.

    compare_to: further models, where the page has chosen them. question: in place of that of the analysis. fixed: parameters that the page sets. show: shows the result.
    """
    kind = find(name)
    # Other values of what the page sets keep the widgets, and what is entered there.
    key = f"{name}-{choice.spec}-{choice.data}-{'-'.join(fixed)}"
    st.markdown(f"**{plain(question or kind.question())}**")
    if compare_to is None:
        compare_to = _other_models(kind, choice, key)
    # Outside the form: a choice there changes which widgets are shown.
    pictures = {field: picture_input(field, f"{key}-{field}") for field in picture_fields(kind)}
    with st.expander("Parameters"), st.form(f"form-{key}", border=False):
        values = parameter_form(kind, key, without=tuple(fixed))
        pressed = st.form_submit_button("Run with these parameters")
    values |= fixed | {field: path for field, path in pictures.items() if path}
    slot = f"job-{key}-{digest([fixed, compare_to])[:8]}"
    if slot not in st.session_state:
        _find_job(kind, values, choice, compare_to, slot)
    former = jobs().get(st.session_state.get(slot, ""))
    stopped = former is None or former.status in ("failed", "cancelled")
    if not pressed and stopped:
        pressed = st.button("Run", key=f"run-{key}", type="primary")
    if pressed:
        try:
            st.session_state[slot] = _submit(make(kind, values), choice, compare_to)
        except UserError as error:
            st.error(plain(str(error)))
            return
    job = jobs().get(st.session_state.get(slot, ""))
    if job is not None:
        show_job(job, lambda outcome: _show(outcome, key, show))


def _find_job(
    kind: type[Analysis], values: dict[str, Any], choice: Choice, compare_to: tuple[str, ...], slot: str
) -> None:
    """Take up the job with these parameters that another visitor, or this one before the page was closed, has started."""
    try:
        key = _key(make(kind, values), choice, compare_to)
    except UserError:
        return
    job = jobs().get(key)
    if job is not None and job.status in ("waiting", "running", "finished"):
        st.session_state[slot] = key


def _other_models(kind: type[Analysis], choice: Choice, key: str) -> tuple[str, ...]:
    """The further models that an analysis compares with."""
    if not (kind.needs_compare_to or kind.takes_compare_to):
        return ()
    from apps.session import model_specs

    others = [spec for spec in model_specs() if spec != choice.spec]
    label = "Compare to" if kind.needs_compare_to else "Compare to (optional)"
    return tuple(st.multiselect(label, others, format_func=model_name, key=f"others-{key}"))


def _key(analysis: Analysis, choice: Choice, compare_to: tuple[str, ...]) -> str:
    """The key of the job that runs this analysis."""
    facts = [analysis.name, analysis.model_dump(mode="json"), choice.spec, choice.data, choice.n, compare_to]
    return digest(facts)


def _submit(analysis: Analysis, choice: Choice, compare_to: tuple[str, ...]) -> str:
    """Put the analysis into the queue; returns the key of its job."""
    key = _key(analysis, choice, compare_to)

    def work(display: Any) -> ReportResult:
        display.section("loading")
        model = load(choice.spec)
        others = [load(spec) for spec in compare_to]
        needs_images = analysis.needs_images or analysis.uses_predictions
        images = prepared_images(choice.spec, choice.data, choice.n, choice.seed)
        chosen = images if needs_images else no_images(model.shape)
        recipe = Recipe(analysis.title, (analysis,), strict=True)
        return report(
            model, chosen, recipe, out=out_folder(), seed=choice.seed, compare_to=others, progress=display
        )

    jobs().submit(key, f"{analysis.title}, {model_name(choice.spec)}", work, visitor=visitor())
    return key


def show_job(job: Job, show: Callable[[Any], None]) -> None:
    """The progress of a job until it ends, then `show(result)`."""
    if job.active:
        job.wait(_PATIENCE)
    if job.status == "finished":
        show(job.result)
    elif job.status == "failed":
        st.error(plain(job.error))
    elif job.status == "cancelled":
        st.info("Cancelled. Finished parts were kept: run it again to continue.")
    else:
        _progress(job.key)


@st.fragment(run_every=_PERIOD)
def _progress(key: str) -> None:
    job = jobs().get(key)
    if job is None or not job.active:
        st.rerun()
    assert job is not None
    fraction = job.display.fraction()
    st.progress(fraction if fraction is not None else 0.0, text=plain(job.line))
    if not may_cancel(job):
        st.caption("Started by another visitor.")
        return
    if st.button("Cancel", key=f"cancel-{key}"):
        _cancel(job)
    if not job.quick:
        st.caption("It continues if you close this page. The result will be listed under Runs.")


def may_cancel(job: Job) -> bool:
    """Whether this visitor has asked for the job, or nobody who has looks at a page any more."""
    return visitor() in job.visitors or not any(present(name) for name in job.visitors)


def _cancel(job: Job) -> None:
    """Cancel the job for this visitor, and for those who have left."""
    gone = [name for name in job.visitors if not present(name)]
    for name in (visitor(), *gone):
        jobs().leave(job, name)


def active_jobs() -> None:
    """What the server works on, whichever page or visitor has asked for it, in the side bar, and what is finished."""
    if jobs().active() or jobs().finished(visitor()):
        with st.sidebar:
            _active_jobs()


@st.fragment(run_every=2.0)
def _active_jobs() -> None:
    active, finished = jobs().active(), jobs().finished(visitor())[:_LISTED]
    if active:
        st.caption("Running in the background")
    for job in active[:_LISTED]:
        line = job.line if job.status == "waiting" else f"{job.display.fraction() or 0:.0%}"
        columns = st.columns([3, 1], vertical_alignment="center")
        columns[0].markdown(plain(f"{job.title}: {line}"))
        if may_cancel(job):
            columns[1].button(
                "",
                key=f"stop-{job.key}",
                icon=":material/close:",
                help=plain(f"Cancel {job.title}"),
                on_click=_cancel,
                args=(job,),
                type="tertiary",
            )
    if len(active) > _LISTED:
        st.caption(f"and {len(active) - _LISTED} more")
    results = [job for job in finished if isinstance(job.result, ReportResult)]
    if results:
        st.caption("Finished")
    for job in results:
        page_link("runs", plain(job.title), ":material/check:", {"run": job.result.page.parent.name})


def _show(outcome: ReportResult, key: str, show: Callable[[Result, str], None]) -> None:
    for result in outcome.results.values():
        show(result, key)
    if outcome.reused:
        st.caption("Loaded from an earlier run.")
    st.caption(plain(f"Run: {outcome.page.parent.name}"))
