"""The embedded legacy store: small, made from a seed, with every habit that the eras of the pipeline had."""

from migrator.demo.legacy import make_legacy_store

__all__ = ["make_legacy_store"]
