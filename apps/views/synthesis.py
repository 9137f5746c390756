"""Images by optimisation: activation maximisation, DeepDream, feature inversion, style transfer."""

import streamlit as st

from apps.panels import analysis_tabs
from apps.session import choose, stop
from probe.errors import UserError

choice = choose()
st.title("Synthesis")
st.caption(
    "Images synthesised by optimisation. The analyses run in the background; cancelling keeps the finished parts."
)
try:
    analysis_tabs("synthesis", choice)
except UserError as error:
    stop(error)
