"""Selectors over the store: cohorts, what they list, and the manifests that cache it. Nothing here writes."""
