"""Dagster: gate, lock, sync."""
