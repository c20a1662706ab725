from streamsvc.rules.catalog.search import MAX_WORDS_TO_JOIN, certain_stages


def tokens(expression):
    """Return all tokens of an expression."""
    operator, *parts = expression
    return {parts[0]} if operator in ("term", "prefix") else set().union(*map(tokens, parts))


def words_searched(words):
    """Return the words that titles' names are searched for."""
    stage = next(stage for stage in certain_stages(words) if stage.match == "words")
    return {token[1:] for token in tokens(stage.expression)}


def test_each_two_neighbours_are_also_searched_as_one_word():
    assert words_searched(["bat", "man", "begins"]) == {"bat", "man", "begins", "batman", "manbegins"}


def test_a_joined_word_replaces_its_two_parts():
    """A title need not have `man` to be found by `bat man begins`."""
    stage = next(stage for stage in certain_stages(["bat", "man", "begins"]) if stage.match == "words")
    _, *variants = stage.expression
    assert [sorted(token[1:] for token in tokens(variant)) for variant in variants] == [
        ["bat", "begins", "man"],
        ["batman", "begins"],
        ["bat", "manbegins"],
    ]


def test_words_of_long_queries_are_not_joined():
    words = [f"word{n}" for n in range(MAX_WORDS_TO_JOIN + 1)]
    assert words_searched(words) == set(words)
    assert words_searched(words[1:]) > set(words[1:])


def test_numbers_in_words_are_also_searched_as_digits():
    assert {"22", "jump", "street", "twenty"} <= words_searched(["twenty", "two", "jump", "street"])


def starts_searched(words):
    """Return the tokens by which titles are searched whose names start with all words."""
    return next(
        found for stage in certain_stages(words) if "s" + "_".join(words) in (found := tokens(stage.expression))
    )


def test_a_name_may_also_start_with_all_words_as_one():
    assert "cspiderman" in starts_searched(["spider", "man"])
    assert "cthem" not in starts_searched(["the", "m"]), "the start of The Matrix"
