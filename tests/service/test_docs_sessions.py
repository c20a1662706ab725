"""The README's first requests and the tutorial, run in a shell against the demo: they print what the pages show."""

import json
import re
import shutil
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from streamsvc.app import create_app
from streamsvc.operations.maintenance import demo
from streamsvc.settings import Settings
from tests.worlds.browser import launch_chromium
from tests.worlds.console_steps import ALL_PAGES
from tests.worlds.docs_examples import ROOT, read_examples, read_json_documents
from tests.worlds.service import DEMO_SETTINGS, running_service, seed_small_demo
from tests.worlds.shown_json import find_changed_value

DEMO = {"STREAMSVC_STOREFRONT": "1", "STREAMSVC_FILTER_MANIFESTS": "1", "STREAMSVC_WORKERS": "1", **DEMO_SETTINGS}
END = "--- end of the block ---"
OUTPUTS = ("json", "text")


@pytest.fixture(scope="module")
def service(new_database, tmp_path_factory):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("docs")
    url = new_database("sqlite", "docs_session", seed_small_demo)
    with running_service(url, folder, STREAMSVC_CORS_ORIGINS=f"http://127.0.0.1:{port}", **DEMO) as running:
        running.page_port = port
        yield running


@pytest.fixture(scope="module")
def password(service):
    with create_app(Settings.from_env(service.env), has_endpoints=False).app_context():
        return demo.demo_password()


def run_page(service, page, folder, password=""):
    """Run the shell blocks of a page in one shell. Returns each block's examples of output, and what it printed."""
    blocks, is_output = [], False
    for example in read_examples(ROOT / page):
        is_output = is_output and example.kind in OUTPUTS
        if example.kind == "sh" and not example.not_run:
            blocks.append((example, []))
            is_output = True
        elif is_output:
            blocks[-1][1].append(example)
    script = "".join(f"{example.text}\necho\necho '{END}'\n" for example, _ in blocks)
    script = script.replace("127.0.0.1:8000", f"127.0.0.1:{service.port}")
    script = re.sub("^password=.*", f"password={password}", script, flags=re.M)
    run = subprocess.run(["bash", "-eu"], input=script, cwd=folder, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    printed = run.stdout.split(END)
    return [(outputs, text) for (_, outputs), text in zip(blocks, printed, strict=False)]


def compare(blocks):
    """Return how many outputs were compared; fails for one that differs from what the page shows."""
    compared = 0
    for outputs, printed in blocks:
        for example in outputs:
            compared += 1
            if example.kind == "json":
                shown, actual = json.loads(example.text), read_json_documents(printed[printed.index("{") :])[-1]
                changed = find_changed_value(shown, actual)
                assert changed is None, f"{example}: {changed}\n{printed}"
            else:
                assert printed.strip() == example.text.strip(), example
    return compared


def test_the_requests_of_the_readme_print_what_it_shows(service, tmp_path):
    assert compare(run_page(service, "README.md", tmp_path)) == 1


def test_the_tutorial_prints_what_it_shows(service, password, tmp_path):
    assert compare(run_page(service, "docs/tutorial.md", tmp_path, password)) == 8


def test_the_televisions_loop_gets_its_token(service, password):
    """The code of docs/how-to-tv.md, while a viewer confirms; it returns None where they deny."""
    names = {}
    [example] = [e for e in read_examples(ROOT / "docs/how-to-tv.md") if e.language == "python"]
    exec(compile(example.text, "how-to-tv.md", "exec"), names)
    body = {"email": "viewer@example.com", "password": password}
    viewer = service.call("POST", "/v1/sessions", body)[1]["token"]
    tokens = [wait_while(service, names["wait_for_token"], viewer, approve) for approve in (True, False)]
    assert service.get("/v1/sessions/current", tokens[0])[1]["session"]["device"]["kind"] == "tv"
    assert tokens[1] is None


def wait_while(service, wait_for_token, viewer, approve):
    """Return what the loop returns for a new code that the viewer decides on meanwhile."""
    code = service.call("POST", "/v1/device-codes", {"device": {"name": "Living room", "kind": "tv"}})[1]
    with ThreadPoolExecutor() as threads:
        waiting = threads.submit(wait_for_token, f"http://127.0.0.1:{service.port}/v1", code["device_code"], 1)
        path = f"/v1/device-codes/{code['user_code']}/decision"
        assert service.call("PUT", path, {"approve": approve}, viewer)[0] == 204
        return waiting.result()


def test_another_output_than_the_shown_one_is_noticed():
    ids = [{"a": f"acc_01k8hu80u3rjr44bvalfnc2eq{last}"} for last in "ef"]
    same = [ids, ({"a": 1, "…": "…"}, {"a": 1, "b": 2})]
    assert [find_changed_value(*pair) for pair in same] == [None, None]
    different = [({"a": 1}, {"a": 1, "b": 2}), ({"a": 1}, {"a": 2}), ({"a": [1]}, {"a": [1, 1]})]
    assert all(find_changed_value(*pair) for pair in different)


@pytest.mark.skipif(not shutil.which("node"), reason="needs Node.js")
def test_the_tutorials_module_signs_in_lists_plays_and_stops(service, password, tmp_path):
    write_front_end(service, tmp_path)
    (tmp_path / "run.mjs").write_text(
        'import * as video from "./video.js";\n'
        f'console.log(await video.signIn("viewer@example.com", "{password}"));\n'
        "const titles = await video.listVideos();\n"
        "const stream = await video.startStream(titles[0].id);\n"
        "console.log(titles.map((title) => title.title).join(), stream.manifests[0].type);\n"
        'console.log((await video.sendHeartbeat(stream.stream_id, 3, "playing")).interval_s);\n'
        "console.log(await video.stopStream(stream.stream_id));\n"
        f'console.log(await video.signIn("viewer@example.com", "wrong").catch((error) => error.message));\n'
    )
    run = subprocess.run(["node", "run.mjs"], cwd=tmp_path, capture_output=True, text=True)
    lines = ["Demo", "Colour Bars,Game of Life,Gradients,Test Patterns hls", "30", "null"]
    assert run.stdout.splitlines()[:4] == lines, run.stdout + run.stderr
    assert run.stdout.splitlines()[4] == "The email or password is incorrect."


@pytest.mark.skipif(not ALL_PAGES, reason="make browser plays it")
def test_the_tutorials_page_plays_in_chromium(service, password, tmp_path):
    write_front_end(service, tmp_path)
    with (
        serve_files(tmp_path, service.page_port),
        launch_chromium("--autoplay-policy=no-user-gesture-required") as browser,
    ):
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{service.page_port}/")
        page.get_by_label("Password").fill(password)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Colour Bars").click()
        page.wait_for_function(
            "(({paused, played}) => !paused && played.length && played.end(0) > played.start(0))"
            "(document.querySelector('video'))"
        )
        assert page.get_by_role("alert").text_content() == ""


@contextmanager
def serve_files(folder, port):
    """Serve a folder as `python -m http.server` does."""
    handler = partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


def write_front_end(service, folder):
    """Write the tutorial's files, `video.js` and `index.html`, for this service."""
    code = {e.language: e.text for e in read_examples(ROOT / "docs/tutorial.md") if e.language in ("js", "html")}
    (folder / "video.js").write_text(code["js"].replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"))
    (folder / "index.html").write_text(code["html"].replace("127.0.0.1:8000", f"127.0.0.1:{service.port}"))
    (folder / "package.json").write_text('{"type": "module"}')
