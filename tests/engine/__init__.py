"""The engine: trees, steps, ledger, lock. Only the runs in test_files know what a generation is."""
