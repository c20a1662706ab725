"""Age ratings of the world's rating systems, each as the minimum age it recommends.

A rating is written `SYSTEM:LABEL`, where the system is its country: `US:PG-13`, `DE:16`, `GB:12A`. Ages follow each
board's own wording; for merely advisory ratings (PG), it is the age the board names for "young children". None means
that the board gave no rating: the title counts as unrated, like one without any rating.

A title has a main rating and may have others of single countries: `min_age_in` says which of them decides.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

UNRATED_AGE_GATE = 99  # an unrated title's age when compared with a profile's max_age: above every limit
ADULT_AGE_GATE = 100  # an adult title's age in the same comparison: also above MAX_AGE_WITHOUT_ADULT
MAX_AGE_WITHOUT_ADULT = 99  # the limit of a kids' profile without one of its own: unrated titles, but no adult ones
ADULT_AGE = 18

_SYSTEMS = {
    "AR": "ATP 0, 13 13, 16 16, 18 18, C 18",
    "AT": "0 0, 6 6, 8 8, 10 10, 12 12, 14 14, 16 16, 18 18",
    "AU": "P 0, C 5, G 0, PG 8, M 15, MA15+ 15, R18+ 18, X18+ 18",
    "BE": "AL 0, 6 6, 9 9, 12 12, 14 14, 16 16, 18 18",
    "BR": "L 0, 10 10, 12 12, 14 14, 16 16, 18 18",
    "CA": "G 0, PG 8, 14A 14, 18A 18, R 18, A 18, C 0, C8 8, 13+ 13, 14+ 14, 16+ 16, 18+ 18, E -",
    "CH": "0 0, 6 6, 8 8, 10 10, 12 12, 14 14, 16 16, 18 18",
    "CL": "TE 0, TE+7 7, 14 14, 18 18",
    "CZ": "U 0, 12 12, 15 15, 18 18",
    "DE": "0 0, 6 6, 12 12, 16 16, 18 18, FSK 0 0, FSK 6 6, FSK 12 12, FSK 16 16, FSK 18 18",
    "DK": "A 0, 7 7, 11 11, 15 15, F -",
    "ES": "A 0, TP 0, APTA 0, ERI 0, 7 7, 12 12, 13 13, 16 16, 18 18, X 18",
    "FI": "S 0, 7 7, 12 12, 16 16, 18 18",
    "FR": "U 0, TP 0, 10 10, 12 12, 16 16, 18 18, -10 10, -12 12, -16 16, -18 18",
    "GB": "U 0, UC 0, PG 8, 12 12, 12A 12, 15 15, 18 18, R18 18, E -",
    "GR": "K 0, K8 8, K12 12, K16 16, K18 18",
    "HK": "I 0, IIA 12, IIB 15, III 18",
    "HU": "KN 0, 6 6, 12 12, 16 16, 18 18, X 18",
    "ID": "SU 0, 13+ 13, 17+ 17, 21+ 21",
    "IE": "G 0, PG 8, 12 12, 12A 12, 15 15, 15A 15, 16 16, 18 18",
    "IN": "U 0, UA 12, UA 7+ 7, UA 13+ 13, UA 16+ 16, U/A 7+ 7, U/A 13+ 13, U/A 16+ 16, A 18, S 18",
    "IS": "L 0, 6 6, 9 9, 12 12, 14 14, 16 16, 18 18",
    "IT": "T 0, 6+ 6, 10+ 10, 14+ 14, 18+ 18, VM14 14, VM18 18",
    "JP": "G 0, PG12 12, R15+ 15, R18+ 18",
    "KR": "ALL 0, 7 7, 12 12, 15 15, 18 18, 19 19",
    "MX": "AA 0, A 0, B 12, B15 15, B-15 15, C 18, D 18",
    "MY": "U 0, P12 12, PG13 13, 13 13, 16 16, 18 18",
    "NL": "AL 0, 6 6, 9 9, 12 12, 14 14, 16 16, 18 18",
    "NO": "A 0, 6 6, 9 9, 12 12, 15 15, 18 18",
    "NZ": "G 0, PG 8, M 16, RP13 13, RP16 16, RP18 18, R13 13, R15 15, R16 16, R18 18, R 18",
    "PH": "G 0, PG 8, R-13 13, R-16 16, R-18 18",
    "PL": "0 0, 7 7, 12 12, 16 16, 18 18",
    "PT": "TP 0, M/3 3, M/4 4, M/6 6, M/12 12, M/14 14, M/16 16, M/18 18",
    "RU": "0+ 0, 6+ 6, 12+ 12, 16+ 16, 18+ 18",
    "SE": "BTL 0, 7 7, 11 11, 15 15",
    "SG": "G 0, PG 8, PG13 13, NC16 16, M18 18, R21 21",
    "TH": "P 0, G 0, 13+ 13, 15+ 15, 18+ 18, 20- 20",
    "TR": "GENEL 0, 6A 6, 6+ 6, 7+ 7, 10A 10, 10+ 10, 13A 13, 13+ 13, 16+ 16, 18+ 18",
    "TW": "0+ 0, 6+ 6, 12+ 12, 15+ 15, 18+ 18",
    "US": (
        "G 0, PG 10, PG-13 13, R 17, NC-17 18, X 18, GP 10, M 10, NR -, UNRATED -, NOT RATED -, "
        "TV-Y 0, TV-Y7 7, TV-Y7-FV 7, TV-G 0, TV-PG 10, TV-14 14, TV-MA 17"
    ),
    "ZA": "A 0, PG 8, 7-9PG 7, 10-12PG 10, 13 13, 16 16, 18 18, X18 18",
}


class AgeRating(NamedTuple):
    system: str
    label: str
    min_age: int | None

    @property
    def text(self) -> str:
        return f"{self.system}:{self.label}"


ADULT_RATING = AgeRating("ADULT", "18", 18)
"""Shown for an adult title that no board has rated."""


def _iter_ratings() -> Iterator[tuple[tuple[str, str], AgeRating]]:
    for system, labels in _SYSTEMS.items():
        for entry in labels.split(", "):
            label, _, age = entry.rpartition(" ")
            yield (system, label), AgeRating(system, label, None if age == "-" else int(age))


AGE_RATINGS = dict(_iter_ratings())
RATING_SYSTEMS = tuple(sorted(_SYSTEMS))


def parse_age_rating(text: str) -> AgeRating:
    """Parse a rating such as `US:PG-13`. Raises ValueError if the system or label is unknown."""
    system, _, label = text.strip().upper().partition(":")
    if system not in _SYSTEMS:
        raise ValueError(f"Unknown rating system {system!r}; use a rating such as US:PG-13 or DE:16.")
    rating = AGE_RATINGS.get((system, label.strip()))
    if rating is None:
        labels = ", ".join(label for other, label in AGE_RATINGS if other == system)
        raise ValueError(f"{system} has no rating {label!r}; it has {labels}.")
    return rating


def min_age_in(country: str | None, main: int | None, by_country: Mapping[str, int | None]) -> int | None:
    """Return the minimum age of a title in a country: that of the country's rating, if it has one, else the main one.

    The strictest of all if the country is unknown. None: unrated.
    """
    if country is not None:
        return by_country.get(country, main)
    ages = (main, *by_country.values())
    known = [age for age in ages if age is not None]
    return max(known) if len(known) == len(ages) else None


def age_gate(min_age: int | None) -> int:
    """Return the lowest `max_age` of a profile that may see the title."""
    return UNRATED_AGE_GATE if min_age is None else min_age


def effective_max_age(max_age: int | None, kids: bool) -> int | None:
    """Return a profile's age limit; None: none. Without one of its own, a kids' profile still sees no adult title."""
    return MAX_AGE_WITHOUT_ADULT if max_age is None and kids else max_age
