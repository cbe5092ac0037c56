"""Speed, always against a rival and in turn: `make bench`."""
