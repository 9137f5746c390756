"""What analyses share, and the pieces of long ones; no analysis lives here, so the registry does not look."""
