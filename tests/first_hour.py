"""The README's first hour, played: its own lines, in a clone, at a terminal.

`python -m tests.first_hour` writes docs/first-hour.md and the README's real screen anew; tests/test_first_hour.py says
whether they are still true.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from migrator.cli.demo import SETTINGS
from migrator.demo import make_legacy_store

ROOT = Path(__file__).resolve().parent.parent
PAGE = "docs/first-hour.md"
HOME = "/home/you/migrator"  # what the clone is called in the screens
COLUMNS, LINES = 100, 50

# a fenced block, with the name of the file that it is, where a line before it says one
BLOCK = re.compile(r"(?:^`(?P<path>[\w/.]+)`:\n\n)?^```(?P<kind>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
ANSWER = re.compile(r"\btype (\w+)$")
ASKS = ("[y/N] ", "to go on: ")

# what differs from run to run: times, durations, amounts of a disk, fingerprints
VARIES = re.compile(
    r"\b\d{8}-\d{6}(?:-\d+)?\b|\b\d{4}-\d\d-\d\d \d\d:\d\d\b"
    r"|\b[\d,.]+ ?s\b(?: \(\d+:\d\d:\d\d\))?|\b[\d,.]+ [kMGT]B\b|(?<=Plan )[0-9a-f]{6}\b"
)


@dataclass(frozen=True)
class Screen:
    """A command as the README has it, with its comment, and what it showed."""

    line: str
    code: int
    text: str

    @property
    def words(self) -> list[str]:
        """What must be the same whenever it is run: no times, and no line ends that a longer path moves."""
        return VARIES.sub("#", self.text).split()


def first_hour(readme: str) -> str:
    """The README's part that is played."""
    return readme[readme.index("## The first hour") :].partition("\n## ")[0] + "\n"


# -- a terminal


def shown(raw: str) -> str:
    """What is left on a terminal's screen: lines that were drawn over are gone, colours too."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|[\r\n]|[^\x1b\r\n]+", raw):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif not token.startswith("\x1b"):
            lines[row] = lines[row].ljust(column)[:column] + token + lines[row][column + len(token) :]
            column += len(token)
        elif token.endswith("K"):
            lines[row] = "" if token[2:-1] == "2" else lines[row][:column]
        elif token.endswith("A"):
            row = max(row - int(token[2:-1] or 1), 0)
    return "\n".join(line.rstrip() for line in lines).strip("\n")


def terminal(
    words: Sequence[str], folder: Path, environment: Mapping[str, str], *, columns: int = COLUMNS, answer: str = ""
) -> tuple[int, str]:
    """Run a program at a terminal; once it asks, somebody types the answer. Its exit code, and all that it wrote."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, columns, 0, 0))
    with subprocess.Popen(
        words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        raw = b""
        with contextlib.suppress(OSError):  # EIO: the last one that held the terminal has gone
            while found := os.read(ours, 65536):
                raw += found
                if answer and raw.decode(errors="ignore").endswith(ASKS):
                    os.write(ours, answer.encode() + b"\n")
                    answer = ""
    os.close(ours)
    return process.returncode, raw.decode()


def at_terminal(command: str, folder: Path, environment: Mapping[str, str], answer: str = "") -> tuple[int, str]:
    """A line of shell at a terminal: its exit code and what is on the screen at its end."""
    code, raw = terminal(["bash", "-c", command], folder, environment, answer=answer)
    return code, shown(raw.replace("\r\n", "\n"))


# -- a clone


def clone(target: Path) -> Path:
    """A clone of this repository, with what is not committed yet."""
    trusting = target.parent / "gitconfig"  # where CI runs, the checkout may belong to another user
    trusting.write_text("[safe]\n\tdirectory = *\n")

    def git(*words: str) -> str:
        environment = os.environ | {"GIT_CONFIG_GLOBAL": str(trusting)}
        return subprocess.run(["git", *words], check=True, stdout=subprocess.PIPE, text=True, env=environment).stdout

    git("clone", "-q", str(ROOT), str(target))
    changed = git("-C", str(ROOT), "ls-files", "-z", "--modified", "--others", "--exclude-standard")
    for name in changed.split("\0")[:-1]:
        (target / name).unlink(missing_ok=True)
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    return target


def borrow_environment(folder: Path) -> None:
    """What `make setup` would make, with the packages of this very Python and the clone's own code."""
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name, words in (("python", ""), ("migrator", "-m migrator"), ("pytest", "-m pytest")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nPYTHONPATH="{folder}" exec "{sys.executable}" {words} "$@"\n')
        program.chmod(0o755)
    sum_of = subprocess.run(["cksum"], input=str(folder), capture_output=True, text=True, check=True).stdout
    (folder / ".venv" / f".setup-{sum_of.split()[0]}").touch()


def alone(home: Path) -> dict[str, str]:
    """An environment with nothing in it but an empty home."""
    home.mkdir()
    return {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "TERM": "xterm",
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        **{name: os.environ[name] for name in ("PIP_INDEX_URL", "PIP_CONFIG_FILE", "TMPDIR") if name in os.environ},
    }


# -- playing


def play(text: str, folder: Path, environment: dict[str, str]) -> Iterator[Screen]:
    """Do what the text says: files get their content, commands are typed one after the other."""
    typed = environment | {"PATH": f"{folder}/.venv/bin:{environment['PATH']}"}
    for block in BLOCK.finditer(text):
        if block["path"]:
            content = block["body"]
            (folder / block["path"]).write_text(content.rstrip("\n") if block["path"].endswith(".json") else content)
        elif block["kind"] == "console":
            for line in re.findall(r"^\$ (.*)$", block["body"], re.MULTILINE):
                asked = ANSWER.search(line)
                code, screen = at_terminal(line, folder, typed, asked[1] if asked else "")
                yield Screen(line, code, screen.replace(str(folder), HOME))


def real_screen(folder: Path, environment: dict[str, str]) -> Screen:
    """`migrator plan` of the demo's store, as it is before the walk."""
    demo = folder / "demo-store"
    demo.mkdir()
    make_legacy_store(demo / "data")
    (demo / "migrator.toml").write_text(SETTINGS)
    code, screen = at_terminal(f"{folder}/.venv/bin/migrator plan", demo, environment)
    shutil.rmtree(demo)
    return Screen("migrator plan", code, screen.replace(str(folder), HOME))


# -- the pages


def screens_of(page: str) -> Iterator[Screen]:
    """The screens that stand in a page, one a block."""
    for block in BLOCK.finditer(page):
        if block["kind"] in ("console", "text"):
            line, _, text = block["body"].partition("\n")
            yield Screen(line.removeprefix("$ "), 0, text)


def filled(text: str, screens: list[Screen]) -> str:
    """The README's part with its screens below the commands, as a page of the docs."""
    left = iter(screens)

    def fill(block: re.Match[str]) -> str:
        if block["kind"] != "console" or block["path"]:
            return block[0]
        parts = []
        for _ in re.findall(r"^\$ ", block["body"], re.MULTILINE):
            screen = next(left)
            parts.append(f"```console\n$ {screen.line}\n{screen.text}\n".rstrip() + "\n```")
        return "\n\n".join(parts)

    page = BLOCK.sub(fill, text).replace("\n### ", "\n## ").replace("](docs/", "](").replace("](tests/", "](../tests/")
    page = page.replace("## The first hour", "# The first hour", 1).replace(
        "[docs/first-hour.md](first-hour.md)", "this page"
    )
    return page.rstrip() + "\n"


def with_real_screen(readme: str, screen: Screen) -> str:
    """The README with this as its one real screen."""
    new = f"## One real screen\n\n```text\n$ {screen.line}\n{screen.text}\n```\n"
    return re.sub(r"## One real screen\n\n```text\n.*?\n```\n", lambda _: new, readme, count=1, flags=re.DOTALL)


def main(say: Callable[[str], object] = print) -> None:
    """Play it and write both pages anew."""
    with tempfile.TemporaryDirectory(prefix="first-hour-") as base:
        folder = clone(Path(base) / "migrator")
        borrow_environment(folder)
        environment = alone(Path(base) / "home")
        readme = (ROOT / "README.md").read_text()
        readme = with_real_screen(readme, real_screen(folder, environment))
        screens = list(play(first_hour(readme), folder, environment))
    for screen in screens:
        say(f"{screen.code}  {screen.line}")
    if any(screen.code for screen in screens):
        sys.exit("a command of the README failed; nothing was written")
    (ROOT / "README.md").write_text(readme)
    (ROOT / PAGE).write_text(filled(first_hour(readme), screens))


if __name__ == "__main__":
    main()
