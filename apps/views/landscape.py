"""The loss surface, curvature and the paths through a residual network."""

import streamlit as st

from apps.panels import analyses_of, analysis_tabs
from apps.session import choose, stop
from probe.errors import UserError

choice = choose()
st.title("Landscape")
try:
    if not analyses_of("landscape"):
        st.info("No analyses of the loss surface are installed.")
    analysis_tabs("landscape", choice)
except UserError as error:
    stop(error)
