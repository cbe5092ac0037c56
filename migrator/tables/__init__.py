"""Derived tables, computed from the store and never edited (contract, section 6). Returns bytes; writes nothing."""
