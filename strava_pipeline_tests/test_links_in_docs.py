"""Pages for readers: each link leads to a file and a heading, and each page is listed in docs/README.md."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
INDEX = DOCS / "README.md"
FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# [text](target), [text](target "title"), and src="..." of a picture.
LINK = re.compile(r"\]\(([^)\s]+)[^)]*\)|\bsrc=\"([^\"]+)\"")
ELSEWHERE = ("http:", "https:", "mailto:")
# As code and texts for operators name a page.
NAMED = re.compile(r"\bdocs/([\w-]+\.md)(?:#([\w-]+))?")


def pages() -> list[Path]:
    folders = ("*.md", "docs/*.md", "examples/**/*.md", "deploy/**/*.md")
    return sorted(page for folder in folders for page in ROOT.glob(folder))


@cache
def anchors(page: Path) -> frozenset[str]:
    """The anchors that GitHub makes of a page's headings; of equal ones the second gets a number."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE):
        anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(anchor if anchor not in found else f"{anchor}-1")
    return frozenset(found)


def dead_links(page: Path) -> list[str]:
    links = ["".join(found) for found in LINK.findall(FENCED.sub("", page.read_text(encoding="utf-8")))]
    return [link for link in links if not link.startswith(ELSEWHERE) and not leads_somewhere(page, link)]


def leads_somewhere(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_each_link_of_a_page_leads_somewhere(page: Path) -> None:
    assert dead_links(page) == []


def test_a_dead_link_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        '# One `word`\n[a](#one-word) [b](#two) [c](page.md) [d](gone.md#x) <img src="gone.png">\n'
        "[e](https://example.org/x)\n```\n# no heading\n[f](gone.md)\n```\n[g](#no-heading)\n",
        encoding="utf-8",
    )
    assert dead_links(page) == ["#two", "gone.md#x", "gone.png", "#no-heading"]


def test_the_list_of_pages_names_each_page_once() -> None:
    listed = re.findall(r"^- \[.*?\]\(([\w-]+\.md)\): ", INDEX.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(page.name for page in DOCS.glob("*.md") if page != INDEX)


def test_the_readme_leads_to_each_page() -> None:
    linked = re.findall(r"\]\(docs/([\w-]+\.md)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert {page.name for page in DOCS.glob("*.md")} == set(linked)


@pytest.mark.parametrize("folder", ["strava_pipeline", "webhook_bridge", "deploy"])
def test_pages_that_are_named_elsewhere_are_there(folder: str) -> None:
    named = {
        (path.relative_to(ROOT), *found)
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".html", ".json", ".yml", ".yaml", ".md"}
        for found in NAMED.findall(path.read_text(encoding="utf-8"))
    }
    gone = [(path, name) for path, name, _ in named if not (DOCS / name).is_file()]
    assert gone == []
    assert [one for one in named if one[2] and one[2] not in anchors(DOCS / one[1])] == []
