"""The examples of docs/clients.md and of the packages' READMEs run against a service, each page from top to bottom."""

import re
import subprocess
import time

import pytest

from streamsvc.rules.webhooks import sign_message
from tests.clients.conftest import CLIENTS, ROOT

PAGE = ROOT / "docs/clients.md"
WEBHOOK = b'{"type": "invoice.issued", "timestamp": "2026-03-08T12:00:00Z", "data": {}}'
SECRET = "whsec_tLQJSzXGPMyUD1RVsd/GnP0ujsEvd1gOtEqixtNUg74="


def read_examples(page, language, url):
    """Return the page's examples in a language, for this service and with email addresses of their own."""
    examples = re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), re.M | re.S)
    assert examples
    text = "\n".join(examples).replace("https://video.example", url)
    return text.replace("@example.com", f"{time.time_ns()}@example.com")


def webhook_headers():
    now = int(time.time())
    signature = sign_message([SECRET], "evt_1", now, WEBHOOK)
    return {"webhook-id": "evt_1", "webhook-timestamp": str(now), "webhook-signature": signature}


@pytest.mark.parametrize("page", [PAGE, CLIENTS / "python/README.md"], ids=lambda page: page.name)
def test_the_python_examples_run(page, python_package, site, capsys):
    names = {}
    exec(compile(read_examples(page, "python", site.url), page.name, "exec"), names)
    for client in [each for each in names.values() if isinstance(each, names["Client"])]:
        client.close()
    output = capsys.readouterr().out
    assert "'url': " in output
    if page == PAGE:
        assert "Change the plan instead." in output and output.count("Film 7\n") == 1 and "'Film 7'" in output
        assert names["receive"](webhook_headers(), WEBHOOK) == 204
        assert names["receive"](webhook_headers(), WEBHOOK + b" ") == 400


@pytest.mark.parametrize("page", [PAGE, CLIENTS / "typescript/README.md"], ids=lambda page: page.name)
def test_the_typescript_examples_run(page, typescript_package, site):
    text = read_examples(page, "ts", site.url)
    imports = sorted(set(re.findall(r"^import .*\n", text, re.M)))
    text = re.sub(r"^import .*\n", "", text, flags=re.M)
    if page == PAGE:
        headers = ", ".join(f'"{name}": "{value}"' for name, value in webhook_headers().items())
        request = f'new Request("http://a/", {{method: "POST", headers: {{{headers}}}, body: `{WEBHOOK.decode()}`}})'
        text += f'console.log("webhook", (await receive({request})).status);\n'
    folder = typescript_package.folder
    (folder / "example.ts").write_text("".join(imports) + text)
    subprocess.run([typescript_package.tsc, "-p", "."], cwd=folder, check=True)
    result = subprocess.run(["node", "example.js"], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    if page == PAGE:
        assert "Change the plan instead." in result.stdout and "Film 7\n" in result.stdout
        assert "webhook 204" in result.stdout


def test_every_example_has_its_twin():
    """Each feature is shown in both languages, but for what exists in Python only."""
    text = PAGE.read_text()
    assert text.count("```python") - text.count("```ts") == 2, "AsyncClient and `request`"


REACT = """
declare module "react" {
  export function createContext(value: any): any;
  export function useContext(context: any): any;
  export function useEffect(effect: () => any, dependencies: any[]): void;
  export function useRef(value: any): any;
  export function useState(value: any): [any, (value: any) => void];
}
declare namespace JSX { interface IntrinsicElements { [name: string]: any } }
"""
"""The types of what the React page uses of React, which is not installed."""


def test_the_react_examples_have_correct_types(typescript_package):
    """Every call of the service has the operation's name and its arguments."""
    text = (ROOT / "docs/how-to-react.md").read_text()
    [service] = re.findall(r"^```ts\n(.*?)^```", text, re.M | re.S)
    page = "".join(re.findall(r"^```jsx\n(.*?)^```", text, re.M | re.S))
    folder = typescript_package.folder / "react"
    folder.mkdir()
    for name, code in {"service.ts": service, "page.tsx": page, "react.d.ts": REACT}.items():
        (folder / name).write_text(code)
    checks = "--noEmit --strict --noImplicitAny false --skipLibCheck --jsx preserve"
    options = f"{checks} --target es2022 --module esnext --moduleResolution bundler"
    command = [typescript_package.tsc, *options.split(), "--lib", "es2022,dom,dom.iterable", *sorted(folder.iterdir())]
    run = subprocess.run(command, cwd=typescript_package.folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
