# SPDX-License-Identifier: Apache-2.0
"""Documentation that cannot go stale: generated pages are fresh, links lead somewhere, everything declared is used."""

import ast
import importlib
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from alcor.base import metrics
from alcor.base.config import declared
from alcor.base.doc import PAGES
from alcor.features.host import HOST
from tests.house.source import ROOT, feature_names, sources

DOCS = ROOT / "docs"
PAGES_WRITTEN = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
SECTIONS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_fresh(name: str) -> None:
    is_fresh = (DOCS / f"{name}.md").read_text(encoding="utf-8") == PAGES[name]()
    assert is_fresh, "run: make docs"


def test_the_page_of_the_pipeline_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    importlib.import_module("alcor.dataplane.doc").main()
    is_fresh = (DOCS / "pipeline.md").read_text(encoding="utf-8") == capsys.readouterr().out
    assert is_fresh, "run: make docs"


def test_every_page_is_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [DOCS / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in reached:
            reached.add(page)
            waiting += [link for link in _links(page) if link.suffix == ".md" and link.exists()]
    assert [page.name for page in DOCS.rglob("*.md") if page.resolve() not in reached] == []


@pytest.mark.parametrize("page", PAGES_WRITTEN, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    assert [str(link) for link in _links(page) if not link.exists()] == []


@pytest.mark.parametrize("page", PAGES_WRITTEN, ids=lambda page: page.name)
def test_every_path_that_a_page_names_is_there(page: Path) -> None:
    named = re.findall(
        r"`((?:src|tests|docs|bench|proto|deploy)/[\w./-]*[\w-])`", page.read_text(encoding="utf-8")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_feature_has_a_line_in_the_index() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert [name for name in feature_names() if f"features/{name}" not in index] == []


def test_every_kind_of_row_is_described() -> None:
    page = (DOCS / "goal-state.md").read_text(encoding="utf-8")
    kinds = [row.__struct_config__.tag for feature in HOST for row in feature.rows]
    assert kinds
    assert [kind for kind in kinds if f"| `{kind}` |" not in page] == []


def test_every_decision_says_what_would_reverse_it() -> None:
    pages = [page for page in (DOCS / "decisions").glob("*.md") if page.stem not in ("index", "dependencies")]
    assert pages
    assert [page.name for page in pages if "## What would reverse it" not in page.read_text()] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = project["dependencies"] + [
        name for extra in project["optional-dependencies"].values() for name in extra
    ]
    reasons = (DOCS / "decisions/dependencies.md").read_text(encoding="utf-8")
    names = {re.split(r"[<>=!\[; ]", requirement)[0] for requirement in named}
    assert sorted(name for name in names if f"| {name} |" not in reasons) == []


def test_every_benchmark_is_described() -> None:
    page = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    runs = [path.name for path in (ROOT / "bench").glob("*.py") if '"__main__"' in path.read_text()]
    assert [name for name in runs if name not in page] == []


def test_every_setting_has_an_effect() -> None:
    read = _attributes_read()
    assert [
        setting.name for setting in declared() if setting.name not in read and "quota" not in setting.name
    ] == []


def test_every_metric_is_counted_somewhere() -> None:
    used = {
        name.removeprefix("alcor.base.metrics.") for source in sources("src") for name in source.imports()
    }
    used |= {f"{name}" for name in _attributes_read()}
    names = [name for name, value in vars(metrics).items() if value in metrics.METRICS]
    assert [name for name in names if name not in used] == []


def test_the_changelog_keeps_its_form() -> None:
    """Keep a Changelog 1.1.0: releases newest first, known sections, one sentence per line of change."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    releases = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert releases[0] == "[Unreleased]"
    assert [
        line for line in releases[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", line)
    ] == []
    sections = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(sections) <= set(SECTIONS)
    changes = re.findall(r"^- (.*(?:\n  .*)*)", text, re.MULTILINE)
    assert changes
    assert [change for change in changes if not re.match(r"[A-Z`]", change) or not change.endswith(".")] == []


def test_the_readme_has_the_two_commands_and_what_they_need() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count("apt-get install -y git make") == 1
    assert re.findall(r"^    (make \w+)", text, re.MULTILINE)[:2] == ["make demo", "make test"]


def _links(page: Path) -> Iterator[Path]:
    """The files that a page links to."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if "://" not in target and not target.startswith("mailto:"):
            yield (page.parent / target).resolve()


def _attributes_read() -> frozenset[str]:
    """Every attribute that the product reads, outside of the table of settings itself."""
    return frozenset(
        node.attr
        for source in sources("src")
        if source.place not in ("src/alcor/base/config.py", "src/alcor/base/doc.py")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
    )
