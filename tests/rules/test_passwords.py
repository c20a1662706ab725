import pytest

from streamsvc.rules.sign_in.passwords import MAX_PASSWORD_BYTES, password_errors, personal_words

BASED_ON_A_NAME = "Do not base the password on"


def errors(password, *words):
    return password_errors(password, 8, lambda password: False, words)


@pytest.mark.parametrize(
    ("password", "rejected"),
    [
        ("Margarita123", True),
        ("Margarita1234", False),
        ("margarita" * 2 + "1234567", True),
        ("margarita" * 2 + "12345678", False),
    ],
)
def test_a_name_may_be_part_of_a_password_if_enough_else_remains(password, rejected):
    """Four characters, or a third of the password."""
    found = errors(password, "margarita")
    assert [error.startswith(BASED_ON_A_NAME) for error in found] == [True] * rejected


def test_names_of_three_letters_may_be_used():
    assert errors("annannann1") == errors("annannann1", "ann") == []
    assert errors("annaanna1", "anna")[0].startswith(BASED_ON_A_NAME)


def test_the_limits_of_length_are_exact():
    assert errors("abcdefg") and not errors("abcdefgh")
    longest = "abcd" * (MAX_PASSWORD_BYTES // 4)
    assert errors(longest + "e") and not errors(longest)
    assert errors("aabbaabb") and not errors("aabbccaabb")


@pytest.mark.parametrize(
    "password",
    ["margaritabaker", "Baker198", "margarita.baker85", "MargaritaBaker!", "example.org1", "baker margarita"],
)
def test_no_part_of_the_email_address_makes_a_password(password):
    assert errors(password, *personal_words("margarita.baker85@example.org"))[0].startswith(BASED_ON_A_NAME)
    assert errors(password, *personal_words("somebody_else+tv@mail.test")) == []
