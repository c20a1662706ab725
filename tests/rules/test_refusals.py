"""What errors say depends on how the service is set up."""

from streamsvc.rules.refusals.requests import UnknownPath


def test_an_unknown_path_names_the_documentation_only_if_it_is_served():
    assert UnknownPath(has_docs=True).detail == (
        "This path does not exist in this API. See /docs or /openapi.json for all paths."
    )
    assert UnknownPath(has_docs=False).detail == "This path does not exist in this API."
