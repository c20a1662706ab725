"""Write a catalogue file of any size, in IMDb's shape: few titles popular, few people in many, genres of all sizes.

    python scripts/make_titles.py 100000 > titles.ndjson

The same number and seed give the same bytes.
"""

import argparse
import json
import random
import sys

GENRES = (
    "drama comedy documentary action romance thriller crime horror adventure family animation mystery fantasy sci-fi "
    "biography history music sport war western musical news"
).split()
SYLLABLES = [first + second for first in "bcdfghklmnprstvwz" for second in "aeio"]
COMMON = (
    "the of and a in to love night man woman house day life dark last blood city time story girl boy king war".split()
)
COUNTRIES, LANGUAGES = ("US", "GB", "FR", "DE", "IN", "JP", "IT", "ES", "CA", "KR"), ("en", "fr", "de", "hi", "ja")
RATINGS = ("US:G", "US:PG", "US:PG-13", "US:R", "DE:12", "DE:16", None, None)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("titles", type=int)
    arguments.add_argument("--seed", type=int, default=1)
    given = arguments.parse_args()
    chance = random.Random(given.seed)
    words = ["".join(chance.choices(SYLLABLES, k=chance.randint(2, 4))) for _ in range(max(2_000, given.titles // 20))]
    people = [
        f"{chance.choice(words).title()} {chance.choice(words).title()}" for _ in range(max(500, given.titles // 2))
    ]
    for number in range(given.titles):
        sys.stdout.write(json.dumps(title(number, chance, words, people), separators=(",", ":")) + "\n")


def title(number, chance, words, people):
    def skewed(values):
        """Early values often, late ones seldom."""
        return values[int(len(values) * chance.random() ** 3)]

    name = [chance.choice(COMMON) if chance.random() < 0.4 else skewed(words) for _ in range(chance.randint(1, 4))]
    return {
        "external_id": f"made:{number}",
        "kind": "movie" if chance.random() < 0.9 else "series",
        "title": " ".join(name).title(),
        "year": 2025 - min(int(chance.expovariate(0.05)), 120),
        "runtime_s": 60 * chance.randint(60, 180),
        "genres": list(dict.fromkeys(skewed(GENRES) for _ in range(chance.randint(1, 3)))),
        "age_rating": chance.choice(RATINGS),
        "languages": [skewed(LANGUAGES)],
        "countries": [skewed(COUNTRIES)],
        "credits": [{"name": skewed(people), "role": role} for role in ("director", "actor", "actor")],
        "windows": [{"countries": ["DE", "US"], "ends_at": "2030-01-01T00:00:00Z"}] if chance.random() < 0.1 else None,
        "popularity": int(chance.paretovariate(1.1)),
    }


if __name__ == "__main__":
    main()
