"""The documentation at /docs: pages, links, search, caching, and how it looks in a browser."""

import json
import re

import pytest

from scripts import draw_architecture
from streamsvc.app import create_app
from streamsvc.pages import documentation
from tests.conftest import close_app
from tests.worlds.accessibility import AXE, find_violations, load_axe
from tests.worlds.browser import launch_chromium, serve_app
from tests.worlds.docs_examples import ROOT

pytestmark = pytest.mark.one_database
PAGES = sorted(name for name in documentation.load_pages() if name != documentation.INDEX)
SHOWN = ("", "/billing", "/tutorial", "/readme", "/architecture")


def read_html(client, name=None):
    response = client.get(f"/docs/{name}" if name else "/docs")
    assert (response.status_code, response.content_type) == (200, "text/html; charset=utf-8"), name
    return response


def test_every_page_of_the_repository_is_served(client):
    assert set(PAGES) == {path.stem for path in (ROOT / "docs").glob("*.md")} - {"README"} | {"readme"}
    for name in PAGES:
        page = read_html(client, name)
        assert "<h1 id=" in page.text and documentation.load_pages()[name].title in page.text
    assert client.get("/docs/no-such-page").status_code == 404
    assert client.get("/docs/README").status_code == 404, "the index is /docs itself"
    assert client.get("/docs/..%2Fdocumentation.py").status_code == 404


def test_every_link_leads_to_a_page_or_a_heading_of_the_site(client):
    """Other hosts are linked to, but nothing is loaded from them."""
    anchors = {name: set(re.findall(r' id="([^"]+)"', read_html(client, name).text)) for name in [None, *PAGES]}
    broken = []
    for name in anchors:
        text = read_html(client, name).text
        for link in re.findall(r'(?:href|src)="([^"]*)"', text):
            if link.startswith(("https://", "http://", "data:")):
                continue
            path, _, anchor = link.partition("#")
            target = resolve(name, path)
            known = target == name or client.get(f"/docs/{target}" if target else "/docs").status_code == 200
            if not known or (anchor and anchor not in anchors.get(target, set())):
                broken.append(f"{name}: {link}")
    assert not broken


def resolve(page, path):
    """Return the name of the page that a relative link of a page names; None for the index."""
    if path in ("docs", "../docs", "."):
        return None
    return path.removeprefix("docs/") or page


def test_every_page_is_in_the_index(client):
    """So that it is in the list of pages beside each page."""
    listed = {page.name for _, pages in documentation.list_groups() for page in pages}
    assert set(PAGES) == listed
    assert [title for title, _ in documentation.list_groups()] == ["Tutorial", "How to", "Reference", "Explanation"]


def test_the_search_reads_headings_and_texts(client):
    entries = client.get("/docs/search.json").json
    found = {entry["url"]: entry for entry in entries}
    assert found["tutorial#sign-in"]["title"] == "Sign in"
    assert "access token" in found["tutorial#sign-in"]["text"]
    assert all(entry["url"].partition("#")[0] in PAGES for entry in entries)
    assert len(json.dumps(entries)) < 400_000


def page_of(markdown):
    return documentation.Page("x", markdown, documentation.split_sections(markdown))


def test_html_in_markdown_is_text_and_comments_are_left_out():
    html = documentation.render_page(page_of("# A <b>b</b>\n\n<!-- not run: c -->\n\n<script>d()</script>\n"))
    assert "<b>" not in html and "<script>" not in html and "&lt;script&gt;" in html and "not run" not in html


def test_repeated_headings_have_anchors_of_their_own_and_links_to_elsewhere_are_text():
    page = page_of("# A\n\n## B\n\n[c](../streamsvc/app.py) [d](billing.md#x)\n\n```\n# no heading\n```\n\n## B\n")
    html = documentation.render_page(page)
    assert [section.anchor for section in page.sections] == ["a", "b", "b-1"]
    assert "<span>c</span>" in html and '<a href="billing#x">d</a>' in html


def test_an_unchanged_page_is_304_and_pages_are_compressed(client):
    for path in ("/docs", "/docs/billing", "/docs/search.json", "/docs/docs.css", "/docs/docs.js"):
        gzip = {"Accept-Encoding": "gzip"}
        response = client.get(path, headers=gzip)
        assert response.content_encoding == "gzip", path
        assert client.get(path, headers=gzip | {"If-None-Match": response.headers["ETag"]}).status_code == 304
        assert "default-src 'none'; script-src 'self'" in response.headers["Content-Security-Policy"]
        assert "unsafe" not in response.headers["Content-Security-Policy"]
    assert client.get("/docs/console-today.png").content_type == "image/png"


def test_the_api_reference_is_linked_and_loads_its_own_files(client):
    assert 'href="docs/reference"' in read_html(client).text
    page = read_html(client, "reference")
    for file in re.findall(r'(?:src|href)="([\w.-]+)"', page.text):
        with client.get(f"/docs/{file}") as response:
            assert response.status_code == 200, file
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page.text)


def test_all_of_it_is_off_with_the_setting(app):
    closed = create_app(app.extensions["settings"].replace(docs=False))
    client = closed.test_client()
    for path in ("/docs", "/docs/billing", "/docs/search.json", "/docs/reference", "/docs/docs.css"):
        assert client.get(path).status_code == 404, path
    close_app(closed)


@pytest.fixture
def site(new_app):
    apps = []

    def create(url):
        apps.append(new_app("sqlite", "docs_site", public_url=url))
        return apps[0]

    with serve_app(create) as url:
        yield url


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_have_no_serious_fault_and_load_from_no_other_host(site, width, scheme, tmp_path):
    with launch_chromium() as browser:
        context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme, bypass_csp=True)
        page, hosts, errors = context.new_page(), set(), []
        page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
        page.on("pageerror", lambda error: errors.append(str(error)))
        for path in SHOWN:
            page.goto(f"{site}/docs{path}")
            page.screenshot(path=tmp_path / f"{path.strip('/') or 'index'}-{width}-{scheme}.png")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            if AXE.exists():
                load_axe(page)
                assert not [each for each in find_violations(page) if each[1] in ("serious", "critical")], path
        assert (hosts, errors) == ({site.removeprefix("http://")}, [])


def test_the_search_works_by_keyboard_alone(site):
    with launch_chromium() as browser:
        page = browser.new_page()
        page.goto(f"{site}/docs")
        page.keyboard.press("/")
        page.keyboard.type("send heartbeats")
        page.get_by_role("link", name="Send heartbeats").first.wait_for()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_url("**/docs/playback#send-heartbeats")
        page.get_by_role("searchbox").wait_for()
        page.keyboard.press("/")
        page.keyboard.type("xyzzy")
        page.get_by_text("Nothing found.").wait_for()


def test_pages_work_without_javascript(site):
    with launch_chromium() as browser:
        page = browser.new_context(java_script_enabled=False).new_page()
        page.goto(f"{site}/docs")
        page.get_by_role("main").get_by_role("link", name="Billing").click()
        page.get_by_role("heading", name="Billing", level=1).wait_for()
        assert page.get_by_role("searchbox").is_hidden()


def test_the_drawing_of_the_architecture_shows_the_imports():
    imports = draw_architecture.read_imports()
    assert draw_architecture.DRAWING.read_text() == draw_architecture.draw(imports), (
        "run python -m scripts.draw_architecture"
    )
    documented = set(re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/architecture.md").read_text(), re.M))
    assert documented == set(imports) - {draw_architecture.BASE}


def test_an_arrow_is_left_out_only_where_it_follows_from_others():
    imports = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"c"}}
    assert draw_architecture.list_direct_arrows(imports) == [("a", "b"), ("b", "c"), ("d", "c")]
    assert [sorted(floor) for floor in draw_architecture.arrange_floors(imports)] == [["a"], ["b", "d"], ["c"]]
