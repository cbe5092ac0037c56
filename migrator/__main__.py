"""`python -m migrator` is the command line."""

from migrator.cli import program

program()
