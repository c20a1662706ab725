"""Libraries of NFO files, as Kodi and Jellyfin write them: folders, archives, single files, and hostile ones."""

import io
import os
import tarfile
import tracemalloc
import zipfile

import pytest

from streamsvc.cli.catalog import catalog as commands
from streamsvc.operations.catalog.formats import ReadOptions, library, nfo
from streamsvc.operations.catalog.imports import imports
from tests.catalog.test_import import counts, send
from tests.worlds.catalog_world import Catalog


@pytest.fixture
def catalog(app):
    return Catalog(app)


FILM = """<?xml version="1.0" encoding="UTF-8" standalone="yes" ?>
<movie>
    <title>Nosferatu</title><title lang="de">Nosferatu – Eine Symphonie des Grauens</title>
    <originaltitle>Nosferatu, eine Symphonie des Grauens</originaltitle>
    <plot>A count from the Carpathians buys a house &amp; moves in.</plot>
    <runtime>94</runtime><mpaa>Germany:12 / Australia:MA</mpaa>
    <uniqueid type="tmdb">653</uniqueid><uniqueid type="imdb" default="true">tt0013442</uniqueid>
    <genre>Horror</genre><genre>Fantasy</genre><country>Germany</country><country>Atlantis</country>
    <set><name>Vampire Films</name><overview>All of them.</overview></set>
    <credits>Henrik Galeen</credits><director>F. W. Murnau</director><premiered>1922-03-04</premiered>
    <fileinfo><streamdetails><video><durationinseconds>5665</durationinseconds></video>
        <audio><language>ger</language></audio><subtitle><language>eng</language></subtitle></streamdetails></fileinfo>
    <thumb aspect="poster">https://image.example/poster.jpg</thumb><thumb aspect="poster">/config/p.jpg</thumb>
    <thumb aspect="logo">https://image.example/a logo.png</thumb><thumb aspect="set.poster">https://a.example/</thumb>
    <fanart><thumb>https://image.example/fanart.jpg</thumb></fanart>
    <actor><name>Max Schreck</name><role>Count Orlok</role><order>0</order>
        <thumb>https://image.example/schreck.jpg</thumb></actor>
    <sorttitle>Nosferatu 1</sorttitle><english_title>Nosferatu: A Symphony of Horror</english_title>
</movie>
https://www.themoviedb.org/movie/653?language=de&page=1
"""
SHOW = """<tvshow><title>Fantômas</title><year>1913</year><uniqueid type="tvdb">77</uniqueid>
<namedseason number="1">The First</namedseason></tvshow>"""
EPISODES = """<?xml version="1.0"?><episodedetails><title>À l'ombre</title><season>1</season><episode>1</episode>
<aired>1913-05-09</aired><runtime>54</runtime></episodedetails>
<?xml version="1.0"?><episodedetails><title>Juve & co</title><season>1</season><episode>2</episode></episodedetails>"""
SEASON = "<season><seasonnumber>2</seasonnumber><title>The Second</title></season>"
FILES = {
    "Films/Nosferatu (1922)/Nosferatu (1922).nfo": FILM,
    "Films/Nosferatu (1922)/Nosferatu (1922).mkv": "",
    "Films/Nosferatu (1922)/Nosferatu (1922)-trailer.mp4": "",
    "Films/Nosferatu (1922)/Nosferatu (1922)-poster.jpg": "",
    "Films/Nosferatu (1922)/fanart.jpg": "",
    "Films/Vampyr (1932)/movie.nfo": "https://www.imdb.com/title/tt0023649/\n",
    "Films/Vampyr (1932)/Vampyr.strm": "#comment\nhttps://media.example/vampyr/master.m3u8\n",
    "Series/Fantômas/tvshow.nfo": SHOW,
    "Series/Fantômas/poster.jpg": "",
    "Series/Fantômas/Season 1/Fantômas S01E01-E02.nfo": EPISODES,
    "Series/Fantômas/Season 1/Fantômas S01E01-E02.mkv": "",
    "Series/Fantômas/Season 1/Fantômas S01E01-E02-thumb.jpg": "",
    "Series/Fantômas/Season 2/season.nfo": SEASON,
    "Series/Fantômas/Season 2/broken.nfo": "<episodedetails><title>",
    "Music/artist.nfo": "<artist><name>A</name></artist>",
}
BASE = "https://media.example/library"


def write_folder(root, files=FILES):
    for path, text in files.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return root


def zip_of(files=FILES, packed=zipfile.ZIP_DEFLATED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", packed) as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return buffer.getvalue()


def tar_of(files=FILES, mode="w:gz", extra=()):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for path, text in files.items():
            body = text if isinstance(text, bytes) else text.encode()
            member = tarfile.TarInfo(path)
            member.size = len(body)
            archive.addfile(member, io.BytesIO(body))
        for member in extra:
            archive.addfile(member)
    return buffer.getvalue()


def check_library(catalog):
    film = catalog.get("/v1/admin/titles/imdb:tt0013442").json
    assert (film["title"], film["year"], film["runtime_s"]) == ("Nosferatu", 1922, 5665)
    assert (film["age_rating"], film["age_ratings"]) == ("DE:12", ["AU:MA15+"])
    assert film["localizations"] == {"de": {"title": "Nosferatu – Eine Symphonie des Grauens"}}
    assert film["synopsis"] == "A count from the Carpathians buys a house & moves in."
    assert film["external_ids"] == {"imdb": "tt0013442", "tmdb": "653"}
    assert (film["genres"], film["countries"]) == (["horror", "fantasy"], ["DE"])
    assert [(credit["name"], credit["role"]) for credit in film["credits"]] == [
        ("F. W. Murnau", "director"), ("Henrik Galeen", "writer"), ("Max Schreck", "actor")]  # fmt: skip
    assert film["sort_title"] == "Nosferatu 1"
    assert film["alternative_titles"] == [{"title": "Nosferatu: A Symphony of Horror", "language": "en"}]
    assert film["tracks"] == [{"kind": "audio", "language": "de"}, {"kind": "subtitle", "language": "en"}]
    own = f"{BASE}/Films/Nosferatu%20%281922%29"
    assert film["media"] == {"mkv": f"{own}/Nosferatu%20%281922%29.mkv"}
    assert [image["url"] for image in film["artwork"]] == [
        f"{own}/Nosferatu%20%281922%29-poster.jpg", f"{own}/fanart.jpg",
        "https://image.example/poster.jpg", "https://image.example/fanart.jpg"]  # fmt: skip
    assert catalog.get("/v1/admin/collections/vampire-films").json["items"] == ["imdb:tt0013442"]
    vampyr = catalog.get("/v1/admin/titles/imdb:tt0023649").json
    assert (vampyr["title"], vampyr["year"]) == ("Vampyr", 1932)
    assert vampyr["media"] == {"hls": "https://media.example/vampyr/master.m3u8"}
    show = catalog.get("/v1/admin/titles/tvdb:77").json
    assert (show["kind"], show["title"], [season["title"] for season in show["seasons"]]) == (
        "series", "Fantômas", ["The First", "The Second"])  # fmt: skip
    first, second = show["seasons"][0]["episodes"]
    assert (first["title"], first["released_on"], first["runtime_s"]) == ("À l'ombre", "1913-05-09", 3240)
    assert second["title"] == "Juve & co"
    assert first["media"] == second["media"] != {}
    assert first["artwork"][0]["url"].endswith("-thumb.jpg")


def info_zip_of():
    """Pack the files as Info-ZIP's zip does: names in UTF-8, without the flag that says so."""
    return zip_of().replace(b"\x00\x08\x08\x00", b"\x00\x00\x08\x00")


@pytest.mark.every_database
@pytest.mark.parametrize(
    "pack", [zip_of, info_zip_of, tar_of, lambda: tar_of(mode="w")], ids=["zip", "Info-ZIP", "tar.gz", "tar"]
)
def test_an_archive_of_a_library_comes_in_and_what_cannot_is_reported_by_its_file(catalog, pack):
    result = send(catalog, pack(), "application/octet-stream", media_base_url=BASE)
    assert (result["format"], result["format_guessed"], result["status"]) == ("nfo", True, "done")
    assert counts(result) == [3, 0, 0, 2]
    items = catalog.get(f"/v1/admin/imports/{result['id']}/rejections").json["items"]
    assert [(item["file"], item["code"]) for item in items] == [
        ("Music/artist.nfo", "not_taken"), ("Series/Fantômas/Season 2/broken.nfo", "malformed")]  # fmt: skip
    assert [(warning["file"], warning["code"]) for warning in result["warnings"]] == [
        ("Films/Nosferatu (1922)/Nosferatu (1922).nfo", "unknown_name")]  # fmt: skip
    check_library(catalog)
    assert counts(send(catalog, pack(), media_base_url=BASE)) == [0, 0, 3, 2]


def test_a_folder_comes_in_by_the_command_line_and_links_are_not_followed(app, catalog, tmp_path):
    outside = write_folder(tmp_path / "outside", {"secret.nfo": FILM.replace("tt0013442", "tt9999999")})
    root = write_folder(tmp_path / "library")
    os.symlink(outside, root / "Films" / "linked")
    os.symlink(outside / "secret.nfo", root / "Films" / "secret.nfo")
    run = app.test_cli_runner().invoke(commands, ["import", str(root), "--media-base-url", BASE])
    assert (run.exit_code, "3 added, 0 changed, 0 unchanged, 2 rejected" in run.output) == (1, True), run.output
    assert "Links are not followed. (2 times)" in run.output
    assert "Series/Fantômas/Season 2/broken.nfo: line" in run.output
    check_library(catalog)
    assert len(catalog.titles()) == 3


def test_an_interrupted_library_resumes_without_reading_its_first_files_again(catalog, monkeypatch):
    monkeypatch.setattr(imports, "MAX_RUN_TIME", imports.MAX_RUN_TIME * 0)
    read = []
    parse = nfo.parse_nfo
    monkeypatch.setattr(nfo, "parse_nfo", lambda body: read.append(body) or parse(body))
    files = {f"{n:04}/movie.nfo": f"<movie><title>Film {n}</title></movie>" for n in range(1_100)}
    result = send(catalog, zip_of(files))
    assert (counts(result), result["lines_done"]) == ([1_100, 0, 0, 0], 1_100)
    assert len(read) < 2_500


BILLION_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><movie><title>&b;&b;&b;</title></movie>'
)
EXTERNAL_ENTITY = """<!DOCTYPE m [<!ENTITY e SYSTEM "file:///etc/passwd">]><movie><title>&e;</title></movie>"""
HOSTILE = {
    "laughs.nfo": (BILLION_LAUGHS, "forbidden"),
    "entity.nfo": (EXTERNAL_ENTITY, "forbidden"),
    "entity16.nfo": (EXTERNAL_ENTITY.encode("utf-16"), "forbidden"),
    "deep.nfo": ("<movie>" + "<a>" * 100_000 + "</a>" * 100_000 + "</movie>", "malformed"),
    "unclosed.nfo": ("<movie>" * 50_000, "malformed"),
    "long.nfo": ("<movie><title>" + "x" * (2 << 20) + "</title></movie>", "too_long"),
    "nul.nfo": ("<movie><title>a\0b</title></movie>", "malformed"),
    "plot.nfo": (f"<movie><title>A</title><plot>{'x' * 30_000}</plot></movie>", "out_of_range"),
    "binary.nfo": (bytes(range(256)) * 8, "malformed"),
    "empty.nfo": ("", "malformed"),
    "encoding.nfo": (b'<?xml version="1.0" encoding="zlib"?><movie><plot/></movie>', None),
    "prose.nfo": ("Ripped by nobody, enjoy.", "malformed"),
    "number.nfo": ("<movie><title>A</title><year>" + "9" * 5_000 + "</year><runtime>1e400</runtime></movie>", None),
    "../above.nfo": (FILM, "unsafe_path"),
    "/etc/absolute.nfo": (FILM, "unsafe_path"),
    "a/../../b.nfo": (FILM, "unsafe_path"),
    "C:/windows.nfo": (FILM, "unsafe_path"),
    "x" * 2_000 + ".nfo": (FILM, "unsafe_path"),
}


@pytest.mark.parametrize("pack", [zip_of, tar_of], ids=["zip", "tar"])
def test_each_hostile_file_is_reported_and_the_others_come_in(catalog, pack):
    files = {**{path: body for path, (body, _) in HOSTILE.items()}, "ok/movie.nfo": FILM}
    result = send(catalog, pack(files))
    items = catalog.get(f"/v1/admin/imports/{result['id']}/rejections", limit=100).json["items"]
    found = {item["file"]: item["code"] for item in items}
    assert found == {path[:200]: code for path, (_, code) in HOSTILE.items() if code}
    assert (result["status"], catalog.titles(sort="title")) == ("done", ["A", "encoding", "Nosferatu"])


def member(name, kind, **values):
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in values.items():
        setattr(info, key, value)
    return info


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (lambda: tar_of({"a/movie.nfo": FILM}, extra=[member("b.nfo", tarfile.SYMTYPE, linkname="/etc/passwd"),
                        member("c.nfo", tarfile.CHRTYPE), member("d.nfo", tarfile.LNKTYPE, linkname="a/movie.nfo")]),
         ("done", [1, 0, 0, 0])),
        (lambda: tar_of(mode="w")[:2_000], ("failed", [0, 0, 0, 0])),
        (lambda: zip_of()[:-30], ("failed", [0, 0, 0, 0])),
        (lambda: zip_of({f"{n:01000}.nfo": "" for n in range(4_200)}, zipfile.ZIP_STORED), ("failed", [0, 0, 0, 0])),
        (lambda: zip_of({"movie.nfo": FILM}, zipfile.ZIP_LZMA), ("done", [0, 0, 0, 1])),
    ],
    ids=["links", "cut tar", "cut zip", "many files", "lzma"],
)  # fmt: skip
def test_hostile_archives_fail_or_are_read_as_far_as_they_are_safe(catalog, body, outcome):
    result = send(catalog, body(), format="nfo")
    assert (result["status"], counts(result)) == outcome, result["error"]
    assert (result["error"] is None) == (result["status"] == "done")


def test_a_header_that_announces_gigabytes_is_not_read(catalog):
    info = member("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=8_000_000_000)
    result = send(catalog, info.tobuf(tarfile.GNU_FORMAT) + b"a" * (1 << 20), format="nfo")
    assert result["error"] == "The file is too large: The archive has a header that is too long."


def test_an_archive_that_unpacks_to_gigabytes_stays_flat_in_memory():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(40):
            archive.writestr(f"{number}.nfo", b"<movie>" + b" " * (20 << 20))
    buffer.seek(0)
    tracemalloc.start()
    entries = list(nfo.read_nfo(buffer, 0, ReadOptions()))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [entry.errors[0].code for entry in entries] == ["too_long"] * 40
    assert peak_bytes < 16 << 20


def test_a_library_of_too_much_text_or_too_many_files_fails(catalog, monkeypatch):
    for limit in ("MAX_TEXT_BYTES", "MAX_FILES"):
        with monkeypatch.context() as patch:
            patch.setattr(library, limit, 2)
            result = send(catalog, zip_of())
            assert (result["status"], result["error"][:22]) == ("failed", "The file is too large:"), limit


PEOPLE = """<movie><title>Nosferatu</title><originaltitle>Nosferatu, eine Symphonie</originaltitle>
<title>Nosferatu</title><originaltitle>Nosferatu, eine Symphonie</originaltitle>
<english_title>Face / Off</english_title>
<director tmdbid="9087">F. W. Murnau</director><director tmdbid="x">Nobody</director>
<director><name>Two</name><tmdbid>2</tmdbid></director>
<credits tmdbid="9078" imdbid="nm0301893">Henrik Galeen</credits><credits tmdbid="3">A / B</credits>
<actor><name>Max Schreck</name><type>Actor</type><tmdbid>9080</tmdbid></actor>
<actor><name>Greta Schröder</name><imdbid>nm0775180</imdbid><tmdbid>9079</tmdbid></actor>
<actor><name>Alexander Granach</name><profile>https://www.themoviedb.org/person/9081-granach</profile></actor>
<actor><name>Ruth Landshoff</name><imdbid>0484577</imdbid><tmdbid>0</tmdbid></actor></movie>"""


@pytest.mark.every_database
def test_people_have_the_ids_that_tinymediamanager_and_emby_write(catalog):
    result = send(catalog, PEOPLE.encode())
    assert counts(result) == [1, 0, 0, 0], result
    film = catalog.get("/v1/admin/titles/title:nosferatu").json
    assert film["original_title"] == "Nosferatu, eine Symphonie"
    assert film["alternative_titles"] == [{"title": "Face / Off", "language": "en"}]
    assert [(credit["name"], credit.get("person")) for credit in film["credits"]] == [
        ("F. W. Murnau", "tmdb:person:9087"), ("Nobody", None), ("Two", "tmdb:person:2"),
        ("Henrik Galeen", "imdb:nm0301893"), ("A", None), ("B", None), ("Max Schreck", "tmdb:person:9080"),
        ("Greta Schröder", "imdb:nm0775180"), ("Alexander Granach", "tmdb:person:9081"), ("Ruth Landshoff", None),
    ]  # fmt: skip
    credit = catalog.get(f"/v1/catalog/titles/{film['id']}").json["credits"][7]
    assert catalog.get(f"/v1/catalog/people/{credit['person_id']}").json["name"] == "Greta Schröder"
