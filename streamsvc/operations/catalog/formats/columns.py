"""The columns of a table: what each is for, by the operator's mapping or by its name.

A target is a field of the record (`title`, `runtime_s`), or a member of one (`title.fr`, `external_ids.imdb`,
`credits.director`, `artwork.poster`, `media.hls`, `age_rating.DE`); `ignore` leaves a column out.
"""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from streamsvc.rules.catalog.codes import COUNTRIES, normalize_language_tag
from streamsvc.rules.catalog.text import fold_text

IGNORE = "ignore"
TEXT_TARGETS = (
    "external_id", "kind", "title", "original_title", "year", "runtime_s", "synopsis", "age_rating", "popularity",
)  # fmt: skip
LIST_TARGETS = ("age_ratings", "genres", "languages", "countries", "plans")
RUNTIME_UNITS = {"runtime": None, "runtime_s": "s", "runtime_min": "min", "runtime_h": "h", "runtime_ms": "ms"}
MEMBER_TARGETS = ("external_ids", "credits", "artwork", "media", "title", "synopsis", "age_rating")
OTHER_TARGETS = ("media", IGNORE)
TARGETS = (*TEXT_TARGETS, *(name for name in RUNTIME_UNITS if name != "runtime_s"), *LIST_TARGETS, *OTHER_TARGETS)
CREDIT_ROLES = ("director", "writer", "actor")
_MEMBER = re.compile(r"[A-Za-z0-9_-]{1,64}")

_ALIASES = {
    "external_id": "external_id externalid id show_id movie_id title_id uid uuid guid sku",
    "kind": "kind type title_type content_type media_type typ",
    "title": "title name film film_name movie movie_title movie_name show_name series_title primary_title titel titre "
             "titulo titolo",
    "original_title": "original_title original_name originaltitel titre_original titulo_original titolo_originale",
    "year": "year release_year released release_date premiere_date start_year date_published air_date first_air_date "
            "premiered jahr erscheinungsjahr produktionsjahr annee ano anno",
    "runtime": "runtime duration length running_time run_time laufzeit dauer duree duracion durata minutes seconds",
    "synopsis": "synopsis overview description plot summary storyline abstract handlung inhalt beschreibung resume "
                "sinopsis descripcion trama descrizione",
    "age_rating": "age_rating mpaa mpaa_rating certificate certification content_rating parental_rating rated rating "
                  "fsk",
    "age_ratings": "age_ratings",
    "popularity": "popularity votes num_votes vote_count no_of_votes imdb_votes",
    "genres": "genres genre listed_in genero genere major_genre main_genre categories",
    "languages": "languages language original_language spoken_languages sprache langue idioma lingua",
    "countries": "countries country production_countries country_of_origin land pays pais paese",
    "plans": "plans plan",
    "credits.director": "director directors directed_by regie realisateur regista",
    "credits.writer": "writer writers written_by screenplay screenwriter drehbuch scenario guion sceneggiatura",
    "credits.actor": "actor actors cast star stars starring darsteller acteurs actores attori",
    "credits.producer": "producer producers produced_by",
    "artwork.poster": "poster poster_url poster_link poster_path cover cover_url",
    "artwork.backdrop": "backdrop backdrop_url fanart background",
    "media": "media video video_url stream stream_url media_url playback_url",
    "media.hls": "hls hls_url m3u8",
    "media.dash": "dash dash_url mpd",
    "external_ids.imdb": "imdb imdb_id tconst const imdb_url imdb_title_id",
    "external_ids.tmdb": "tmdb tmdb_id themoviedb_id",
    "external_ids.tvdb": "tvdb tvdb_id thetvdb_id",
    "external_ids.wikidata": "wikidata wikidata_id qid",
    "external_ids.eidr": "eidr eidr_id",
    "external_ids.letterboxd": "letterboxd_uri letterboxd_url",
    IGNORE: "",
}  # fmt: skip
TARGET_OF_NAME = {name.replace("_", ""): target for target, names in _ALIASES.items() for name in names.split()}
"""The target of a column by its name, folded and without separators."""
UNITS_IN_NAMES = {
    "s": "s", "sec": "s", "secs": "s", "seconds": "s", "min": "min", "mins": "min", "minutes": "min", "minuten": "min",
    "ms": "ms", "millis": "ms", "milliseconds": "ms", "h": "h", "hrs": "h", "hours": "h",
}  # fmt: skip


class Column(NamedTuple):
    """A column of a table and what it is for."""

    position: int
    name: str
    target: str
    member: str = ""
    """The part of the target after its dot."""
    unit: str | None = None
    """The unit that the column's name states, if it is a duration."""


class UnknownTarget(ValueError):
    """A mapping names a field that a record does not have."""


def parse_target(text: str) -> tuple[str, str]:
    """Split a target into its field and member. Raises UnknownTarget."""
    name, _, member = text.strip().partition(".")
    if not member and name in TARGETS:
        return name, ""
    if name in MEMBER_TARGETS and _MEMBER.fullmatch(member) and _is_possible_member(name, member):
        return name, member
    raise UnknownTarget(
        f"{text.strip()[:100]!r} is not a field; use one of {', '.join(TARGETS)}, or a member such as title.fr, "
        "external_ids.imdb, credits.director, artwork.poster, media.hls or age_rating.DE."
    )


def _is_possible_member(name: str, member: str) -> bool:
    if name == "age_rating":
        return member.upper() in COUNTRIES
    if name in ("title", "synopsis"):
        try:
            normalize_language_tag(member)
        except ValueError:
            return False
    return True


def check_mapping(mapping: object) -> dict[str, str]:
    """Return a mapping of columns' names to targets, both stripped. Raises UnknownTarget if it is none."""
    if not isinstance(mapping, dict) or not all(isinstance(item, str) for pair in mapping.items() for item in pair):
        raise UnknownTarget('Must be an object of columns and fields, such as {"Film Name": "title"}.')
    for name, target in mapping.items():
        parse_target(target)
        if not name.strip() or not f"{name}{target}".isprintable():
            raise UnknownTarget(f"{name[:100]!r} is not the name of a column.")
    return {name.strip(): target.strip() for name, target in mapping.items()}


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """Return the mapping in pairs such as `Film Name=title`. Raises UnknownTarget."""
    return check_mapping({name: target for name, _, target in (pair.rpartition("=") for pair in pairs)})


def find_columns(header: Sequence[str], mapping: Mapping[str, str]) -> tuple[list[Column], list[str]]:
    """Return the columns that have a target, and the names of those that have none."""
    wanted = {fold_text(name): target for name, target in mapping.items()}
    columns, unknown = [], []
    for index, name in enumerate(header):
        plain = name.strip()
        if not plain:
            continue
        if (mapped := wanted.get(fold_text(plain))) is not None:
            columns.append(_column(index, plain, mapped))
        elif guessed := _guess_target(plain):
            columns.append(_column(index, plain, *guessed))
        else:
            unknown.append(plain)
    return [column for column in columns if column.target != IGNORE], unknown


def _column(index: int, name: str, target: str, unit: str | None = None) -> Column:
    field, member = parse_target(target)
    if field in RUNTIME_UNITS:
        return Column(index, name, "runtime_s", "", unit or RUNTIME_UNITS[field])
    return Column(index, name, field, member)


def _guess_target(name: str) -> tuple[str, str | None] | None:
    """Return the target and the unit of a column by its name; None if the name says nothing."""
    if "." in name or name in TARGETS:
        try:
            parse_target(name)
        except UnknownTarget:
            pass
        else:
            return name, None
    words = fold_text(re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)).split()
    unit = UNITS_IN_NAMES.get(words[-1]) if len(words) > 1 else UNITS_IN_NAMES.get("".join(words))
    target = TARGET_OF_NAME.get("".join(words)) or TARGET_OF_NAME.get(re.sub(r"\d+$", "", "".join(words)))
    if target:
        return target, unit if target == "runtime" else None
    if unit and TARGET_OF_NAME.get("".join(words[:-1])) == "runtime":
        return "runtime", unit
    return None
