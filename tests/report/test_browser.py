"""The report in a real browser: no errors, no requests, readable in both themes, searchable with 100,000 rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from migrator import IdScheme, runner
from migrator.demo import make_legacy_store
from migrator.engine.exchange import Place
from migrator.report.html import render_plan
from migrator.report.listings import MAPPING_ROWS
from migrator.site import Site, shipped_migrations

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium (Debian: apt install chromium)")

# text that is too pale or too small, elements without a name, ids that are there twice: [what, where]
AUDIT = """
() => {
  const found = [];
  const channel = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const colour = (text) => (text.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const [r, g, b, a = 1] = colour(getComputedStyle(e).backgroundColor);
      if (a > 0.99) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Set();
  for (let node; (node = walker.nextNode()); ) {
    const element = node.parentElement;
    if (!node.data.trim() || seen.has(element) || ["SCRIPT", "NOSCRIPT"].includes(element.tagName)) continue;
    seen.add(element);
    if (!element.checkVisibility()) continue;
    const [one, two] = [luminance(colour(getComputedStyle(element).color)), luminance(ground(element))];
    const ratio = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
    if (ratio < 4.5) found.push(["contrast " + ratio.toFixed(2), element.outerHTML.slice(0, 80)]);
    if (parseFloat(getComputedStyle(element).fontSize) < 11) found.push(["small", element.outerHTML.slice(0, 80)]);
  }
  for (const input of document.querySelectorAll("input"))
    if (!input.labels.length) found.push(["no label", input.outerHTML]);
  for (const svg of document.querySelectorAll("svg"))
    if (svg.getAttribute("aria-hidden") !== "true") found.push(["a chart that is read out as nothing", svg.outerHTML]);
  for (const table of document.querySelectorAll("table"))
    if (!table.caption) found.push(["no caption", table.outerHTML]);
  for (const region of document.querySelectorAll("[role=region], nav, section"))
    if (!region.ariaLabel && !document.getElementById(region.getAttribute("aria-labelledby")))
      found.push(["no name", region.outerHTML.slice(0, 80)]);
  for (const link of document.querySelectorAll("a"))
    if (!document.getElementById(link.hash.slice(1))) found.push(["leads nowhere", link.outerHTML]);
  const ids = [...document.querySelectorAll("[id]")].map((e) => e.id);
  for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push(["id twice", id]);
  const levels = [...document.querySelectorAll("h1, h2, h3")].map((e) => Number(e.tagName[1]));
  levels.forEach((level, i) => { if (level > (levels[i - 1] ?? 0) + 1) found.push(["heading skipped", String(i)]); });
  if (document.documentElement.lang !== "en") found.push(["no language", ""]);
  if (document.querySelectorAll("main").length !== 1) found.push(["not one main", ""]);
  return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium."""
    with playwright.sync_playwright() as tool:
        chromium = tool.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo's legacy store."""
    base = tmp_path_factory.mktemp("store")
    make_legacy_store(base / "data")
    return Site(Place.at(base / "data"), shipped_migrations(), base / "b", base / "m", env="staging")


@pytest.fixture(scope="module")
def pages(site: Site, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A plan, a blocked plan with collisions, a run, and a mapping of 100,000 rows, as files."""
    folder = tmp_path_factory.mktemp("pages")
    plan = runner.read_plan(site)
    blocked = runner.read_plan(replace(site, scheme=IdScheme(digest_size=1)))
    assert plan and blocked
    many = tuple(("evaluation", f"old-{n:06}", f"v_{n * 7919 % 100_000:06}") for n in range(100_000))
    outcome = runner.upgrade(site)
    assert outcome.plan
    texts = {
        "plan": render_plan(plan, site, times=[("read", 0.4), ("plan", 0.2)]),
        "blocked": render_plan(blocked, site),
        "run": render_plan(outcome.plan, site, outcome=outcome, times=[("build", 1.5), ("verify", 0.6)]),
        "many": render_plan(replace(plan, mapping=many), site),
    }
    for name, text in texts.items():
        (folder / f"{name}.html").write_text(text, encoding="utf-8")
    return {name: folder / f"{name}.html" for name in texts}


def opened(browser: Any, path: Path, **context: Any) -> tuple[Any, list[str]]:
    """The page, and what it complains about or asks the network for."""
    page = browser.new_context(**context).new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    return page, told


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["plan", "blocked", "run"])
def test_it_can_be_read_by_everybody(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    """Contrast of at least 4.5, names, captions, headings in order; no message and no request."""
    page, told = opened(browser, pages[name], color_scheme=scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate(AUDIT) == []
    assert told == []
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_the_audit_can_fail(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["plan"])
    page.evaluate("document.querySelector('h1').style.color = '#ccc'")
    page.evaluate("document.querySelector('caption').remove()")
    page.evaluate("document.querySelector('label').remove()")
    assert {what.split()[0] for what, _ in page.evaluate(AUDIT)} == {"contrast", "no"}


@pytest.mark.parametrize("width", [320, 390, 1080])
def test_no_window_scrolls_sideways(browser: Any, pages: dict[str, Path], width: int) -> None:
    """A wide table scrolls in its own box."""
    for name in ("plan", "blocked", "run"):
        page, _ = opened(browser, pages[name], viewport={"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_read_without_scripts(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["many"], java_script_enabled=False)
    assert page.locator("#mapping-rows tr").count() == MAPPING_ROWS
    assert not page.locator("#find").is_visible()
    assert "the search needs scripts" in page.inner_text("#mapping")


def test_the_search_finds_old_and_new_ids(browser: Any, pages: dict[str, Path], site: Site) -> None:
    page, told = opened(browser, pages["plan"])
    old, new = "19fkd7hkwc99w1az", "e_2ersas09jxjqz4up"
    for query in (old, new, new.upper(), old[4:12]):
        page.fill("#query", query)
        assert page.locator("#mapping-rows tr").all_inner_texts() == [f"essay\t{old}\t{new}"]
    page.fill("#query", "no such id (*")
    assert page.locator("#mapping-rows tr").count() == 0
    assert page.inner_text("#told") == "0 of 320 match"
    page.fill("#query", "")
    assert page.inner_text("#told") == "showing the first 200 of 320"
    assert told == []


def test_a_hundred_thousand_rows_never_freeze_it(browser: Any, pages: dict[str, Path]) -> None:
    """Each key costs less than what one feels, and the page opens at once."""
    page, told = opened(browser, pages["many"])
    assert page.inner_text("#told") == "showing the first 200 of 100,000"
    for query, count in (("0", "100,000"), ("01", ""), ("old-099999", "1"), ("v_000000", "1")):
        spent = page.evaluate(
            """(query) => {
              const field = document.getElementById("query"), began = performance.now();
              field.value = query;
              field.dispatchEvent(new Event("input"));
              document.body.getBoundingClientRect();
              return performance.now() - began;
            }""",
            query,
        )
        assert spent < 1000  # milliseconds, on a machine that does other things too; alone it is a tenth of that
        assert count in page.inner_text("#told")
    assert page.locator("#mapping-rows tr").all_inner_texts() == ["evaluation\told-000000\tv_000000"]
    assert told == []


def test_the_keyboard_reaches_everything(browser: Any, pages: dict[str, Path]) -> None:
    """First the way past the top, then the sections; the search is reached, and what is focused is seen."""
    page, _ = opened(browser, pages["plan"])
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.hash") == "#details"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    reached = []
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert "query" in reached and "SUMMARY" in reached and "A" in reached


def test_print_shows_what_is_folded_and_hides_what_cannot_be_used(browser: Any, pages: dict[str, Path]) -> None:
    page, _ = opened(browser, pages["plan"], color_scheme="dark")
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert [found for found in page.evaluate(AUDIT) if found[0].startswith("contrast")] == []
    assert not page.locator("nav").is_visible()
    assert not page.locator("#query").is_visible()
    assert page.locator("#issues details td").first.is_visible()
    assert page.evaluate("getComputedStyle(document.querySelector('#mapping .wide')).maxHeight") == "none"
