"""What axe-core finds on a page that a browser shows; skip the test where it is not installed (`npm ci`)."""

from pathlib import Path

import pytest

AXE = Path(__file__).parent.parent / "players/node_modules/axe-core/axe.min.js"
requires_axe = pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci in tests/players")
COLOUR_RULES = ["color-contrast", "link-in-text-block"]
"""All that another colour scheme can break: it has other colours, and nothing else."""
VIOLATIONS = """async (rules) => {
    const only = rules && {runOnly: {type: "rule", values: rules}};
    const {violations} = await axe.run({resultTypes: ["violations"], ...only});
    return violations.map(({id, impact, nodes}) => [id, impact, nodes[0].html.slice(0, 200)]);
}"""


def load_axe(page):
    """Load axe-core into the page's document. Its context needs `bypass_csp`: the script is not of the page's host."""
    page.evaluate(AXE.read_text())


def find_violations(page, rules=None):
    """Return [(rule, impact, HTML of the first element)] of what violates the rules with these ids, or any rule."""
    return [tuple(violation) for violation in page.evaluate(VIOLATIONS, rules)]
