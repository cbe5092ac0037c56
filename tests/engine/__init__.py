"""The engine: trees, steps, ledger, lock. None of these tests knows what a generation is, but the audit in test_files."""
