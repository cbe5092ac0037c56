"""Pipelines to start and to copy from."""
