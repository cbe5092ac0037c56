"""The report page: whole, offline, and harmless whatever the store holds."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from migrator import IdScheme, runner
from migrator.demo import make_legacy_store
from migrator.engine.exchange import Place
from migrator.plan import Plan
from migrator.report import findings, listings, picture
from migrator.report.html import render_plan
from migrator.site import Site, shipped_migrations

VOID = {"meta", "rect", "br", "input"}


class Tags(HTMLParser):
    """Collects tags and fails where they do not nest."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Every tag and attribute that the page has."""
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Ends what was begun last."""
        if tag not in VOID:
            assert self.open.pop() == tag


def tags(page: str) -> Tags:
    """The page's tags, all closed."""
    parser = Tags()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The demo's legacy store."""
    base = tmp_path_factory.mktemp("store")
    make_legacy_store(base / "data")
    return Site(Place.at(base / "data"), shipped_migrations(), base / "backups", base / "mappings", env="staging")


def planned(site: Site) -> Plan:
    """The plan of a site where steps are pending."""
    plan = runner.read_plan(site)
    assert plan is not None
    return plan


@pytest.fixture(scope="module")
def plan(site: Site) -> Plan:
    """Its plan."""
    return planned(site)


def test_the_page_is_whole_and_offline(site: Site, plan: Plan) -> None:
    """Tags nest; no image, no style sheet, no link to anywhere but into the page."""
    page = render_plan(plan, site)
    found = tags(page)
    assert not found.seen & {"img", "link", "iframe", "object"}
    assert not found.attributes & {"src", "onclick", "onload"}
    assert set(re.findall(r'href="(.)', page)) == {"#"}
    assert "http" not in page.replace("http-equiv", "")
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_it_says_what_counts(site: Site, plan: Plan) -> None:
    """Verdict, numbers, one id from its parts, stages, cohorts, steps with digests, fingerprint, root."""
    page = render_plan(plan, site)
    assert "<b>Ready</b>" in page
    assert f'<b class="good">{plan.counts["created"]:,}</b>to create' in page
    assert f'<b class="warn">{plan.counts["renamed"]:,}</b>to rename' in page
    example = picture.example(plan)
    assert example is not None
    assert f"<code>{example.origin}</code>" in page
    assert f'<li class="new"><small>after: the task itself</small><code>{example.gen_id}</code>' in page
    assert "<td>218 renamed</td>" in page
    assert "<td>196 of 218<br>218 of 218</td>" in page
    assert plan.fingerprint in page
    assert str(site.place.root) in page
    for step, _ in plan.steps:
        assert step.digest in page
    for cohort, _, _ in plan.before.cohorts():
        assert f"<code>{cohort}</code>" in page
    for problem in plan.problems:
        assert problem.kind in page


def test_equal_plans_have_equal_pages(site: Site, plan: Plan) -> None:
    """No clock, no order of a hash."""
    assert render_plan(plan, site) == render_plan(planned(site), site)


def test_a_site_is_not_needed(plan: Plan) -> None:
    """A notebook has none."""
    assert str(plan.before.root) in render_plan(plan)


def test_long_tables_are_cut_and_say_so(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first rows, and where all of them are."""
    for part in (findings, listings):
        monkeypatch.setattr(part, "ROWS", 3)
    page = render_plan(plan)
    assert f"the first 3 of {len(plan.synthetic):,}; synthetic_drafts.csv has every one" in page
    assert f"the first 3 of {len(plan.problems):,}; all are in issues.csv" in page


def test_the_mapping_has_some_rows_to_read_and_all_to_search(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows of a table cost a browser dearly, text costs it nothing."""
    monkeypatch.setattr(listings, "MAPPING_ROWS", 3)
    page = render_plan(plan)
    assert page.count("<tr><td>draft</td>") == 3
    assert all(f"\n{old}\t{new}\n" in page for _, old, new in plan.mapping)
    assert sum(map(int, re.findall(r'data-count="(\d+)"', page))) == len(plan.mapping)


def test_collisions_stand_side_by_side(site: Site) -> None:
    """Blocked, with both signatures and a mark where they differ."""
    plan = planned(replace(site, scheme=IdScheme(digest_size=1)))
    page = render_plan(plan, site)
    assert "<b>Blocked</b>" in page
    bare = next(problem.gen_id for problem in plan.problems if problem.kind == "id-collision")
    assert f'<th scope="col"><code>{bare}</code></th><th scope="col"><code>{bare}-1</code></th>' in page
    assert '<td class="differs">' in page
    tags(page)


EVIL = "<script>alert(1)</script>\"'&\x1b[31m"


def test_data_is_text(tmp_path: Path) -> None:
    """Whatever the store holds: no markup, no escape codes, no lone surrogates; the page is UTF-8."""
    names = ("<b>&\x1b[31mx", b"\xff\xfe".decode(errors="surrogateescape") + "y")
    for name in names:
        folder = tmp_path / "data/gens/draft" / name
        folder.mkdir(parents=True)
        record = {"template_id": EVIL, "combo_id": EVIL, "llm_model_id": EVIL, "replicate": EVIL}
        (folder / "metadata.json").write_text(json.dumps(record))
    cohort = tmp_path / "data/cohorts/<script>alert(2)"
    cohort.mkdir(parents=True)
    (cohort / "membership.csv").write_text("stage,gen_id\ndraft,<script>alert(3)\n")
    site = Site(Place.at(tmp_path / "data"), shipped_migrations(), tmp_path / "b", tmp_path / "m", env="<script>")
    page = render_plan(planned(site), site)
    assert "\x1b" not in page
    page.encode()
    parts = re.findall(r"<script[^>]*>", page)
    assert parts == ['<script type="text/plain" data-stage="draft" data-count="1">', "<script>"]
    assert "\n\\x3cb>&\\x1b[31mx" in page  # a name with markup, as text of the search
    tags(page)


def test_only_the_pages_own_script_may_run(plan: Plan) -> None:
    """The policy has the digest of exactly what stands between the tags."""
    page = render_plan(plan)
    script = page.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page


def test_times_are_told_as_measured_and_as_guessed(plan: Plan) -> None:
    """A plan has a guess for what has not happened; under a twentieth of a second nothing is claimed."""
    page = render_plan(plan, times=[("read", 1.24), ("plan", 0.01)])
    assert "<td>1.2 s</td>" in page and "<td>under 0.1 s</td>" in page
    assert "build, verify, commit" in page and "about " in page


def test_facts_of_the_machine_are_there(plan: Plan) -> None:
    assert "<code>Linux, 2 cores</code>" in render_plan(plan, machine=[("machine", "Linux, 2 cores")])


def test_a_run_that_was_committed(tmp_path: Path) -> None:
    """With the outcome: what happened, which run, where the snapshot lies."""
    make_legacy_store(tmp_path / "data")
    site = Site(Place.at(tmp_path / "data"), shipped_migrations(), tmp_path / "b", tmp_path / "m")
    outcome = runner.upgrade(site)
    assert outcome.plan is not None
    assert outcome.run is not None
    page = render_plan(outcome.plan, site, outcome=outcome)
    assert "<b>Committed</b>" in page
    assert f"Run {outcome.run.run_id}" in page
    assert outcome.run.tree in page
    assert "leftover-reference" in page
    assert "what no step rewrites has the bytes that it had" in page
    assert "estimate" not in page
    tags(page)
