"""The documentation points at what exists: every link, every heading that a link names, every path of the source."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCE_PATH = re.compile(r"`((?:streamsvc|tests|bench|docs|scripts|migrations)/[\w./-]+)`")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
EXAMPLE = re.compile(r"reports\.py$")
"""CONTRIBUTING.md builds an endpoint that does not exist, in files of this name."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub forms them."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(page.read_text())}


def dead_link(page: Path, link: str) -> bool:
    if link.startswith("http"):
        return False
    name, _, anchor = link.partition("#")
    target = page.parent / name if name else page
    return not target.exists() or bool(anchor and target.suffix == ".md" and anchor not in anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(page):
    text = page.read_text()
    assert not [link for link in LINK.findall(text) if dead_link(page, link)]
    assert not [path for path in SOURCE_PATH.findall(text) if not (ROOT / path).exists() and not EXAMPLE.search(path)]


def test_the_readme_names_every_page():
    readme = (ROOT / "README.md").read_text()
    assert not [page.name for page in PAGES if page.name != "README.md" and page.name not in readme]
