"""The rules of the URLs, which compile what builds a URL when one is built."""

import pytest
from werkzeug.routing import Map, Rule


@pytest.mark.one_database
@pytest.mark.parametrize("unknown", [{}, {"q": "a b"}])
def test_every_url_is_built_as_by_werkzeugs_own_rules(app, unknown):
    rules = list(app.url_map.iter_rules())
    own = Map([Rule(rule.rule, endpoint=rule.endpoint, methods=rule.methods) for rule in rules])
    adapters = [urls.bind("localhost") for urls in (app.url_map, own)]
    for rule in rules:
        values = dict.fromkeys(rule.arguments, "é x") | unknown
        method = min(rule.methods)
        built, expected = (adapter.build(rule.endpoint, values, method) for adapter in adapters)
        assert built == expected, rule
    assert len(rules) > 300
