"""`make example` as a stranger meets it: a fresh checkout, an empty home, a browser, and only what the text says."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.conftest import tree

ROOT = Path(__file__).parents[2]
URL = "http://127.0.0.1:3000"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt install chromium)"),
]
QUERY = "{runsOrError{... on Runs{results{runId jobName status}}}}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git would give to a stranger, with an empty home beside it."""
    folder = tmp_path_factory.mktemp("stranger")
    (folder / "home").mkdir()
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    for name in subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")[:-1]:
        (folder / "proj" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / "proj" / name)
    return folder / "proj"


@pytest.fixture(scope="module")
def example(checkout: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`make example` until its page answers, as the leader of a session of its own."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(checkout.parent / "home")}
    with (checkout.parent / "out.txt").open("wb") as out:
        # A shell's background job ignores Ctrl-C, and so would its children.
        command = ["env", "--default-signal=INT", "make", "example"]
        program = subprocess.Popen(
            command, cwd=checkout, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    try:
        while not _answers():
            assert program.poll() is None, said(checkout)
            time.sleep(0.5)
        yield program
    finally:
        for pid in alive(program.pid):
            os.kill(pid, signal.SIGKILL)
        program.wait()


def said(checkout: Path) -> str:
    """What it has printed so far."""
    return (checkout.parent / "out.txt").read_text(errors="replace")


def _answers() -> bool:
    try:
        urllib.request.urlopen(f"{URL}/server_info", timeout=10).close()
    except OSError:
        return False
    return True


def alive(session: int) -> list[int]:
    """The processes of a session."""
    found = subprocess.run(["ps", "-o", "pid=", "-s", str(session)], capture_output=True, text=True).stdout
    return [int(pid) for pid in found.split()]


def steps(text: str) -> dict[str, list[str]]:
    """Number of each step -> the labels that it says to click, from its first line."""
    found = re.findall(r"^  (\d)  (.*)$", text, re.MULTILINE)
    return {number: re.findall(r'"([^"]+)"', line) for number, line in found}


def click(page: Any, label: str) -> None:
    """Click what bears this label; Dagster adds dots where a question follows."""
    text = re.compile(rf"^\W*{re.escape(label)}(…|\.\.\.)?$")
    page.get_by_text(text).filter(visible=True).first.click()


def runs() -> list[dict[str, str]]:
    """Every run, the newest first."""
    body = json.dumps({"query": QUERY}).encode()
    request = urllib.request.Request(f"{URL}/graphql", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        found: list[dict[str, str]] = json.load(answer)["data"]["runsOrError"]["results"]
    return found


def launch(page: Any, labels: list[str], count: int) -> None:
    """Click through to a launch and wait until its runs have ended."""
    before = len(runs())
    for label in labels:
        click(page, label)
    while len(found := runs()) < before + count or any(run["status"] in LIVE for run in found):
        page.wait_for_timeout(1000)
    assert {run["status"] for run in found} == {"SUCCESS"}


LIVE = {"QUEUED", "NOT_STARTED", "STARTING", "STARTED"}


def test_a_stranger_clicks_through_it(checkout: Path, example: subprocess.Popen[bytes]) -> None:
    """Each label is one of the page, what was there is skipped, three calls are made, and Ctrl-C ends all of it."""
    labels = steps(said(checkout))
    assert list(labels) == ["1", "2", "3", "4"]
    store, calls = checkout / "example-store" / "data", checkout / "example-store" / "calls.log"
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto(URL)
        launch(page, labels["1"], 1)
        launch(page, labels["2"], 3)
        launch(page, ["make_essay" if label == "make_draft" else label for label in labels["2"]], 3)
        assert not calls.exists()
        launch(page, ["make_evaluation" if label == "make_draft" else label for label in labels["2"]], 18)
        assert len(set(calls.read_text().splitlines())) == 3
        before = tree(store)
        launch(page, labels["4"], 18)
        for label in labels["3"]:
            click(page, label)
        page.get_by_text("STEP_SKIPPED").first.wait_for()
        page.get_by_text("evaluation_checks").first.wait_for()
        page.get_by_text('Skipped execution of step "evaluation.parsed".').wait_for()
        page.screenshot(path=checkout.parent / "skipped.png")
        browser.close()
    assert len(calls.read_text().splitlines()) == 3
    assert tree(store) == before
    os.killpg(example.pid, signal.SIGINT)  # as a terminal does it
    example.wait(60)
    deadline = time.monotonic() + 30  # multiprocessing's own helper goes when it finds itself alone
    while alive(example.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert alive(example.pid) == []
    assert "Traceback" not in said(checkout)
    assert list((checkout.parent / "home").glob("*dagster*")) == []
