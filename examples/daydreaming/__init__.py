"""The three stages with a stub model."""
