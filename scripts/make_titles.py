"""Write a catalogue file of any size, distributed like IMDb: few popular titles, few prolific people, uneven genres.

    python scripts/make_titles.py 100000 > titles.ndjson

The same number and seed always produce the same bytes.
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
COMMON_WORDS = (
    "the of and a in to love night man woman house day life dark last blood city time story girl boy king war".split()
)
COUNTRIES, LANGUAGES = ("US", "GB", "FR", "DE", "IN", "JP", "IT", "ES", "CA", "KR"), ("en", "fr", "de", "hi", "ja")
RATINGS = ("US:G", "US:PG", "US:PG-13", "US:R", "DE:12", "DE:16", None, None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("titles", type=int)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    words = ["".join(rng.choices(SYLLABLES, k=rng.randint(2, 4))) for _ in range(max(2_000, options.titles // 20))]
    people = [f"{rng.choice(words).title()} {rng.choice(words).title()}" for _ in range(max(500, options.titles // 2))]
    for number in range(options.titles):
        sys.stdout.write(json.dumps(generate_title(number, rng, words, people), separators=(",", ":")) + "\n")


def generate_title(number, rng, words, people):
    def skewed(values):
        """A random value; early ones are more frequent than late ones."""
        return values[int(len(values) * rng.random() ** 3)]

    name = [rng.choice(COMMON_WORDS) if rng.random() < 0.4 else skewed(words) for _ in range(rng.randint(1, 4))]
    return {
        "external_id": f"made:{number}",
        "kind": "movie" if rng.random() < 0.9 else "series",
        "title": " ".join(name).title(),
        "year": 2025 - min(int(rng.expovariate(0.05)), 120),
        "runtime_s": 60 * rng.randint(60, 180),
        "genres": list(dict.fromkeys(skewed(GENRES) for _ in range(rng.randint(1, 3)))),
        "age_rating": rng.choice(RATINGS),
        "languages": [skewed(LANGUAGES)],
        "countries": [skewed(COUNTRIES)],
        "credits": [{"name": skewed(people), "role": role} for role in ("director", "actor", "actor")],
        "windows": [{"countries": ["DE", "US"], "ends_at": "2030-01-01T00:00:00Z"}] if rng.random() < 0.1 else None,
        "popularity": int(rng.paretovariate(1.1)),
    }


if __name__ == "__main__":
    main()
