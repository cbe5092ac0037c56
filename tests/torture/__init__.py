"""The sweeps: one module a kind, the same code for `make torture` (all of it) and for the everyday suite (a stride)."""
