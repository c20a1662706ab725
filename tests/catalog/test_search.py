"""Search: what people type, and what they mean."""

import pytest

from tests.worlds.catalog_world import Catalog
from tests.worlds.scenes import set_scene

pytestmark = pytest.mark.every_database

TITLES = """
Spider-Man = 60
Spider-Man 2 = 50
The Amazing Spider-Man = 40
Léon: The Professional = 30
Amélie = 30
WALL·E = 30
Mr. Robot = 20
Her = 20
X-Men = 30
X-Men: Days of Future Past = 25
Les Misérables = 20
Œuvre au noir = 1
Die große Stille = 2
東京物語 = 3
기생충 = 4
Ghost in the Shell 攻殻機動隊 = 5
M = 6
The Matrix = 70
Schindler’s List = 20
The Lord of the Rings: The Return of the King = 90
Star Wars: Episode IV – A New Hope = 80
Rocky II = 9
S.W.A.T. = 9
Fast & Furious = 9
$ = 1
Them! = 2
Batman Begins = 30
8½ = 5
M*A*S*H = 8
Москва слезам не верит = 3
추격자 = 4
שלום = 2
الظلام = 2
隠し砦の三悪人 = 3
8 femmes = 4
"""
TYPED = """
spider man → Spider-Man
spiderman → Spider-Man
SPIDER-MAN → Spider-Man
leon → Léon: The Professional
amelie → Amélie
wall e → WALL·E
walle → WALL·E
wall-e → WALL·E
mr robot → Mr. Robot
mr. robot → Mr. Robot
xmen → X-Men
x men → X-Men
les miserables → Les Misérables
oeuvre → Œuvre au noir
grosse stille → Die große Stille
東京 → 東京物語
物語 → 東京物語
기생충 → 기생충
攻殻 → Ghost in the Shell 攻殻機動隊
m → M
matrix → The Matrix
matrix the → The Matrix
schindlers list → Schindler’s List
schindler's list → Schindler’s List
lord rings return → The Lord of the Rings: The Return of the King
star wars episode 4 → Star Wars: Episode IV – A New Hope
rocky 2 → Rocky II
swat → S.W.A.T.
s.w.a.t → S.W.A.T.
fast and furious → Fast & Furious
$ → $
them → Them!
bat man begins → Batman Begins
begins bat man → Batman Begins
8½ → 8½
mash → M*A*S*H
москва → Москва слезам не верит
nolan → Insomnia
christopher nolan insomnia → Insomnia
sovnlos → Insomnia
de niro → Insomnia
spiderman 2 → Spider-Man 2
amazing spiderman → The Amazing Spider-Man
spidre man → Spider-Man
matrx → The Matrix
amleie → Amélie
schindlers lsit → Schindler’s List
nolen → Insomnia
the martix → The Matrix
масква → Москва слезам не верит
the matrix movie → The Matrix
추겨자 → 추격자
שלומ → שלום
שלופ → שלום
الظلم → الظلام
vjcrdf → Москва слезам не верит
ьфекшч → The Matrix
akuo → שלום
かくし砦の三悪人 → 隠し砦の三悪人
huit femmes → 8 femmes
"""


PLAIN = (
    '"',
    "'",
    '"star',
    "AND",
    "OR NOT",
    "NEAR(",
    "star*",
    "title:star",
    "-",
    "^star",
    "%",
    "_",
    "\\",
    "& | ! <->",
    ":*",
    "()",
    ",",
    "🎬",
    "a" * 200,
)


def build_catalog(app):
    catalog = Catalog(app)
    for number, line in enumerate(TITLES.strip().splitlines()):
        title, popularity = line.split(" = ")
        catalog.put(title, external_id=f"t:{number}", popularity=int(popularity))
    people = [{"name": "Christopher Nolan", "role": "director"}, {"name": "Robert De Niro", "role": "actor"}]
    catalog.put("Insomnia", credits=people, original_title="Søvnløs", popularity=1)
    return catalog


@pytest.fixture
def catalog(app):
    return set_scene(app, build_catalog)


def test_typed_queries_find_the_intended_title(catalog):
    for line in TYPED.strip().splitlines():
        typed, title = line.split(" → ")
        assert catalog.search(typed)[:1] == [title], typed


def test_one_wrong_word_of_several_hides_no_title_behind_a_poor_guess(catalog):
    catalog.put("El secreto de sus ojos")
    catalog.put("Secrets of Ojos", credits=[{"name": "Ana Tusa", "role": "actor"}])
    assert catalog.search("secreto de tuss ojos") == ["Secrets of Ojos", "El secreto de sus ojos"]
    assert catalog.search("secreto de sus ojos") == ["El secreto de sus ojos"]


def test_hits_are_ranked_exact_then_prefix_then_words(catalog):
    assert catalog.hits("spider man") == [
        ("exact", "Spider-Man"),
        ("prefix", "Spider-Man 2"),
        ("words", "The Amazing Spider-Man"),
    ]
    assert catalog.hits("matrix") == [("exact", "The Matrix")]  # an article aside
    assert catalog.hits("matirx") == [("fuzzy", "The Matrix")]
    assert catalog.hits("the mat")[0] == ("prefix", "The Matrix")


def test_popularity_breaks_ties(catalog):
    for number in (3, 9, 1):
        catalog.put(f"Quiet {number}", popularity=number)
    assert catalog.search("quiet") == ["Quiet 9", "Quiet 3", "Quiet 1"]
    catalog.put("Quiet 1", popularity=50)
    assert catalog.search("quiet") == ["Quiet 1", "Quiet 9", "Quiet 3"]


def test_paging_reaches_the_last_hit_and_repeats_none(catalog):
    for number in range(30):
        catalog.put(f"Story {number}" if number % 2 else f"A story {number}", popularity=number % 5)
    whole = [item["id"] for item in catalog.get("/v1/catalog/search", q="story", limit=100).json["items"]]
    paged = [item["id"] for page in catalog.walk("/v1/catalog/search", q="story", limit=7) for item in page]
    assert paged == whole
    assert len(set(paged)) == len(paged) >= 30


def test_guesses_are_paged(catalog):
    for number in range(20):
        catalog.put(f"Tempest {number}", popularity=number)
    whole = catalog.hits("tempset", limit=100)
    assert {match for match, _ in whole} == {"fuzzy"}
    paged = [item["title"] for page in catalog.walk("/v1/catalog/search", q="tempset", limit=3) for item in page]
    assert paged == [title for _, title in whole]


def test_hits_of_last_resort_are_paged_over_their_stages(catalog):
    pages = list(catalog.walk("/v1/catalog/search", q="matrix leone", limit=1))
    assert [item["title"] for page in pages for item in page] == ["The Matrix", "Léon: The Professional"]


def test_quotes_and_operators_are_plain_text(catalog):
    for typed in PLAIN:
        assert catalog.get("/v1/catalog/search", q=typed).status_code == 200, typed


def test_an_empty_query_finds_nothing_and_a_missing_one_is_rejected(catalog):
    assert catalog.search("") == catalog.search("   ") == catalog.search("!?") == []
    assert catalog.get("/v1/catalog/search").status_code == 422
    assert catalog.get("/v1/catalog/search", q="a" * 201).status_code == 422
    assert catalog.get("/v1/catalog/search", q="a", colour="red").status_code == 422


def test_one_letter_finds_titles_that_start_with_it(catalog):
    assert catalog.hits("h")[0] == ("prefix", "Her")
    assert catalog.hits("m")[0] == ("exact", "M")


def test_suggestions_complete_the_query(catalog):
    for typed in ("sp", "spi", "spider", "spider m"):
        items = catalog.get("/v1/catalog/suggestions", q=typed).json["items"]
        assert items[0]["title"] == "Spider-Man"
        assert set(items[0]) == {"id", "kind", "title", "year", "match", "match_field"}


def test_restricted_titles_are_not_found(catalog):
    catalog.put("Secret garden", windows=[])
    catalog.put("Secret window", age_rating="US:R")
    catalog.put("Secret lives", age_rating="US:G", windows=[{"countries": ["US"]}])
    assert catalog.viewer(country="DE").search("secret") == ["Secret window"]
    assert catalog.viewer(country="US", max_age=12).search("secret") == ["Secret lives"]
    assert len(catalog.search("secret")) == 3


def test_a_renamed_title_is_found_only_by_its_new_name(catalog):
    catalog.put("Oldname", external_id="x:1")
    catalog.put("Newname", external_id="x:1")
    assert catalog.search("newname") == ["Newname"]
    assert catalog.search("oldname") == []


def test_a_new_title_is_offered_for_a_word_that_was_misspelt_before_it_came(catalog):
    assert catalog.hits("zephyrr quilll") == []
    catalog.put("Zephyr Quill")
    assert catalog.hits("zephyrr quilll") == [("fuzzy", "Zephyr Quill")]
