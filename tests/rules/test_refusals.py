"""What errors say depends on how the service is set up."""

from streamsvc.rules.refusals.accounts import InvalidCredentials
from streamsvc.rules.refusals.base import Refusal
from streamsvc.rules.refusals.requests import UnknownPath


def test_an_unknown_path_names_the_documentation_only_if_it_is_served():
    assert UnknownPath(has_docs=True).detail == (
        "This path does not exist in this API. See /docs or /openapi.json for all paths."
    )
    assert UnknownPath(has_docs=False).detail == "This path does not exist in this API."


def test_a_sentence_of_its_own_replaces_that_of_the_class():
    for refusal, detail in ((Refusal(), "The request was refused."), (Refusal(detail="Too late."), "Too late.")):
        assert (refusal.detail, str(refusal)) == (detail, detail)
    assert Refusal.detail == "The request was refused."


def test_a_refusal_for_lack_of_credentials_names_the_scheme():
    challenge = {"WWW-Authenticate": "DPoP"}
    assert [InvalidCredentials().headers, Refusal().headers] == [{"WWW-Authenticate": "Bearer"}, {}]
    assert InvalidCredentials(headers=challenge).headers == challenge
