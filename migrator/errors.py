"""What can go wrong, as exceptions that know their exit code. Imports nothing of the package.

A class exists only where the operator acts differently; the text says what happened, to what, and what to type next.
Codes are those of the command line contract: 1 no, 2 usage, 4 a person decides, 5 try again, 10 care.
"""

from __future__ import annotations


class MigratorError(Exception):
    """The answer is no; the live tree is untouched.

    `where` names the path or generation, `hint` is what to type next, `incident` a page about it. All may be None.
    """

    exit_code = 1
    incident: str | None = None

    def __init__(self, message: str, *, where: object | None = None, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.where = None if where is None else str(where)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.where})" if self.where else self.message


class UsageError(MigratorError):
    """The command or its settings make no sense as given."""

    exit_code = 2


class DecisionNeeded(MigratorError):
    """A person must decide: blocking issues, later work, edited steps, a proof that is missing."""

    exit_code = 4


class TryAgain(MigratorError):
    """Nothing is wrong with the store, but not now: the lock is held, a plan is stale, a file changed meanwhile."""

    exit_code = 5


class CareNeeded(MigratorError):
    """The store needs care: the message says what lies where. Nothing was deleted."""

    exit_code = 10


INTERNAL = "internal error"


def described(cause: BaseException) -> str:
    """What went wrong, in a clause."""
    if isinstance(cause, MigratorError):
        return cause.message
    if isinstance(cause, OSError):
        return f"{cause.strerror or cause}" + (f": {cause.filename}" if cause.filename else "")
    if isinstance(cause, KeyboardInterrupt):
        return "interrupted"
    if isinstance(cause, MemoryError):
        return "not enough memory"
    return f"{INTERNAL}: {cause!r}"
