"""The documentation as web pages: the Markdown of docs/ and the README.

The links between pages become links of the site. What they name outside of the documentation is text only: the site
does not have it.
"""

import re
from collections.abc import Sequence
from functools import cache
from html import escape
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token

FOLDER = Path(__file__).parent / "docs"
README = Path(__file__).parent / "README.md"
INDEX = "README"
"""The page that lists the others: docs/README.md."""
README_NAME = "readme"
"""The name of the repository's README on the site."""
IMAGES = {".png": "image/png", ".svg": "image/svg+xml"}
MOST_TEXT = 600
"""Characters of a section that the search reads."""
_CODE_OR_COMMENT = re.compile(r"^ *(```+).*?^ *\1$|<!--.*?-->", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) +(.+?) *$", re.MULTILINE)
_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")


class Section(NamedTuple):
    """A heading with its anchor and level, and the text below it up to the next heading."""

    level: int
    anchor: str
    title: str
    text: str


class Page(NamedTuple):
    """A page: its Markdown, and its sections, of which the first has the page's title."""

    name: str
    markdown: str
    sections: list[Section]

    @property
    def title(self) -> str:
        return self.sections[0].title


@cache
def load_pages() -> dict[str, Page]:
    """Read all pages, by name. Once per process."""
    files = {path.stem: path for path in sorted(FOLDER.glob("*.md"))} | {README_NAME: README}
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    return {name: Page(name, text, split_sections(text)) for name, text in texts.items()}


def split_sections(markdown: str) -> list[Section]:
    """Return the sections of a page, with the anchors that GitHub gives them and their text without code."""
    prose = _CODE_OR_COMMENT.sub("", markdown)
    parts = _HEADING.split(prose)
    sections: list[Section] = []
    for level, heading, text in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        title = _plain_text(heading)
        anchor = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
        repeated = sum(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", each.anchor) is not None for each in sections)
        anchor = f"{anchor}-{repeated}" if repeated else anchor
        sections.append(Section(len(level), anchor, title, _plain_text(text)[:MOST_TEXT]))
    return sections


def _plain_text(markdown: str) -> str:
    """Return the text of Markdown without links and marks, on one line."""
    return " ".join(re.sub(r"[`*|]+|:?-{3,}:?", " ", _LINK.sub(r"\1", markdown)).split())


def render_page(page: Page) -> str:
    """Render a page's Markdown as GitHub does, with anchors. HTML in it is escaped, comments are left out.

    Links are relative to the folder of the pages.
    """
    parser = MarkdownIt("commonmark", {"html": True}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    tokens = parser.parse(page.markdown)
    headings = [token for token in tokens if token.type == "heading_open"]
    for heading, section in zip(headings, page.sections, strict=True):
        heading.attrSet("id", section.anchor)
    for token in tokens:
        _rewrite_links(token.children or [])
    return str(parser.renderer.render(tokens, parser.options, {}))


@cache
def list_groups() -> list[tuple[str, list[Page]]]:
    """Return the headings of the index, each with the pages that are listed below it."""
    pages = load_pages()
    parts = re.split(r"^## (.+)$", pages[INDEX].markdown, flags=re.MULTILINE)
    links = [re.findall(r"^- \[[^\]]+\]\(([^)#]+)\)", text, re.MULTILINE) for text in parts[2::2]]
    return [
        (title, [pages[name] for name in map(find_link_target, listed) if name])
        for title, listed in zip(parts[1::2], links, strict=True)
    ]


def list_search_entries() -> list[dict[str, str]]:
    """Return the sections of all pages, as the search reads them."""
    return [
        {"page": page.title, "url": f"{page.name}#{section.anchor}", "title": section.title, "text": section.text}
        for page in load_pages().values()
        if page.name != INDEX
        for section in page.sections
    ]


def find_link_target(link: str) -> str | None:
    """Return what a page's link is on the site: an anchor, a page, a picture or another host. None if nothing is."""
    if re.match(r"https?:|mailto:|#", link):
        return link
    name, _, anchor = link.partition("#")
    file = name.removeprefix("docs/").removeprefix("./")
    if file == "../README.md":
        target = README_NAME
    elif "/" in file or not (FOLDER / file).is_file():
        return None
    else:
        target = file.removesuffix(".md") if file != f"{INDEX}.md" else "."
    return f"{target}#{anchor}" if anchor else target


def _rewrite_links(children: Sequence[Token]) -> None:
    """Point links and pictures to the site; a link to nowhere becomes a `span`."""
    is_dropped = False
    for token in children:
        if token.type == "image":
            token.attrSet("src", find_link_target(str(token.attrGet("src"))) or "")
            token.attrSet("loading", "lazy")
        elif token.type == "link_open":
            target = find_link_target(str(token.attrGet("href")))
            is_dropped = target is None
            token.attrSet("href", target or "")
        if is_dropped and token.type in ("link_open", "link_close"):
            token.tag, token.attrs = "span", {}


class _Renderer(RendererHTML):
    """Renders tables and code in boxes that scroll by themselves, and HTML as text."""

    def table_open(self, tokens: Sequence[Token], index: int, *_: object) -> str:
        return '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>\n'

    def table_close(self, tokens: Sequence[Token], index: int, *_: object) -> str:
        return "</table></div>\n"

    def fence(self, tokens: Sequence[Token], index: int, *_: object) -> str:
        return f'<pre tabindex="0"><code>{escape(tokens[index].content)}</code></pre>\n'

    def html_block(self, tokens: Sequence[Token], index: int, *_: object) -> str:
        return "" if tokens[index].content.lstrip().startswith("<!--") else escape(tokens[index].content)

    def html_inline(self, tokens: Sequence[Token], index: int, *_: object) -> str:
        return escape(tokens[index].content)
