"""Build streamsvc/demo/catalog.ndjson.gz from the CC0 film table of the PyPI package bokeh-sampledata.

    pip download --no-deps bokeh-sampledata==2026.1
    python scripts/make_demo_catalog.py bokeh_sampledata-2026.1-py3-none-any.whl

The same wheel always produces the same bytes. Everything that is changed or dropped is counted and printed.
"""

import argparse
import gzip
import hashlib
import io
import json
import sqlite3
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

OUT = Path(__file__).parent.parent / "streamsvc" / "demo" / "catalog.ndjson.gz"
MEMBER = "bokeh_sampledata/_data/movies.db"
SHA256 = "1d9c6a02e488d0354b2309e16130c58820a91ac2ce417e814c5964f9579a65ac"
TITLES = 17_472

RATINGS = {"G": "US:G", "PG": "US:PG", "PG-13": "US:PG-13", "R": "US:R", "NC-17": "US:NC-17",
           "M": "US:M", "GP": "US:GP", "M/PG": "US:PG", "X": "US:X"}  # fmt: skip

# The source separates names with ", " and thereby splits names that contain a comma; these belong to the previous name.
SUFFIXES = {"Jr.", "Sr."}
GROUPS = {("Earth", "Wind & Fire"), ("Crosby", "Stills & Nash"), ("Blood", "Sweat & Tears")}
NOT_PEOPLE = {"list of The Young and the Restless characters (2013)"}

SHORTEST_FEATURE_MIN = 5  # shorter runtimes are errors of the source, such as 1 minute for Machuca

# Former states map to the code of their successor, parts of a state to the code of the state.
COUNTRIES = dict(pair.rsplit("=", 1) for pair in """\
United States=US;United Kingdom=GB;France=FR;Germany=DE;Canada=CA;Italy=IT;Australia=AU;Japan=JP;Spain=ES;India=IN;\
Belgium=BE;Mexico=MX;Hong Kong=HK;Sweden=SE;People's Republic of China=CN;Denmark=DK;Ireland=IE;Switzerland=CH;\
Netherlands=NL;South Korea=KR;Israel=IL;Austria=AT;Argentina=AR;Russia=RU;Norway=NO;South Africa=ZA;Brazil=BR;\
Poland=PL;New Zealand=NZ;Iran=IR;Czech Republic=CZ;Hungary=HU;Romania=RO;Portugal=PT;Luxembourg=LU;Taiwan=TW;\
Thailand=TH;Finland=FI;Soviet Union=RU;Iceland=IS;Chile=CL;Greece=GR;Turkey=TR;West Germany=DE;Colombia=CO;\
Philippines=PH;Egypt=EG;Peru=PE;Palestine=PS;Czechoslovakia=CZ;Yugoslavia=RS;Morocco=MA;Cuba=CU;Bulgaria=BG;\
Serbia=RS;Indonesia=ID;Georgia=GE;British Hong Kong=HK;Venezuela=VE;Vietnam=VN;Kazakhstan=KZ;Senegal=SN;Tunisia=TN;\
Singapore=SG;Ukraine=UA;Slovakia=SK;United Arab Emirates=AE;Bosnia and Herzegovina=BA;Algeria=DZ;Lebanon=LB;\
Federal Republic of Yugoslavia=RS;Uruguay=UY;Slovenia=SI;North Macedonia=MK;Estonia=EE;Pakistan=PK;Malta=MT;\
Jamaica=JM;Iraq=IQ;Latvia=LV;Jordan=JO;Occupied Palestinian territory=PS;Socialist Federal Republic of Yugoslavia=RS;\
Democratic Republic of the Congo=CD;Burkina Faso=BF;Cambodia=KH;Dominican Republic=DO;Malaysia=MY;Croatia=HR;Mali=ML;\
Panama=PA;Bolivia=BO;Botswana=BW;Lithuania=LT;Chad=TD;Kingdom of the Netherlands=NL;Cameroon=CM;Monaco=MC;Ecuador=EC;\
Afghanistan=AF;Ethiopia=ET;Armenia=AM;Qatar=QA;Rwanda=RW;Kenya=KE;Nigeria=NG;Georgian SSR=GE;The Bahamas=BS;\
Mongolia=MN;Paraguay=PY;Serbia and Montenegro=RS;Kingdom of Great Britain=GB;Taiwan Island=TW;Kingdom of Italy=IT;\
Liechtenstein=LI;Belarus=BY;Ivory Coast=CI;Republic of China=TW;Bangladesh=BD;Cyprus=CY;Tajikistan=TJ;Albania=AL;\
Eritrea=ER;Ghana=GH;Saudi Arabia=SA;Kyrgyzstan=KG;Wales=GB;Papua New Guinea=PG;Tanzania=TZ;Mauritania=MR;Syria=SY;\
Nepal=NP;Kosovo=XK;Laos=LA;Yemen=YE;Guatemala=GT""".split(";"))  # fmt: skip

# BCP 47: the two-letter code if there is one, else ISO 639-3, else the family (639-5); `art` for invented languages.
LANGUAGES = dict(pair.rsplit("=", 1) for pair in """\
English=en;French=fr;Spanish=es;German=de;Italian=it;Japanese=ja;Hindi=hi;Russian=ru;Arabic=ar;Hebrew=he;\
Cantonese=yue;Korean=ko;Mandarin=zh;Swedish=sv;Portuguese=pt;Persian=fa;Standard Chinese=zh;Danish=da;Dutch=nl;\
Chinese=zh;Polish=pl;Norwegian=no;Thai=th;Romanian=ro;Hungarian=hu;Czech=cs;Turkish=tr;Icelandic=is;Latin=la;\
Finnish=fi;Vietnamese=vi;Yue Chinese=yue;Serbian=sr;Modern Greek=el;Catalan=ca;Indonesian=id;Greek=el;Georgian=ka;\
American English=en-US;Urdu=ur;Tamil=ta;Afrikaans=af;Ukrainian=uk;Yiddish=yi;Standard Taiwanese Mandarin=zh-TW;\
Kurdish language=ku;Punjabi=pa;Bangla=bn;Tibetan=bo;Tagalog=tl;Dari=prs;Bosnian=bs;Irish=ga;Albanian=sq;\
Serbo-Croatian=sh;Putonghua=zh;Bulgarian=bg;Swahili=sw;Romani=rom;Pashto=ps;Taiwanese Hokkien=nan;Somali=so;Wolof=wo;\
Croatian=hr;Kazakh=kk;Armenian=hy;Māori=mi;Sicilian=scn;Chechen=ce;Bambara=bm;Quechua=qu;Macedonian=mk;Khmer=km;\
Xhosa=xh;Estonian=et;Marathi=mr;Filipino=fil;Mongolian=mn;Yucatec Maya=yua;Inuktitut=iu;Neapolitan language=nap;\
Flemish Dutch=nl-BE;Slovak=sk;Swiss German=gsw;Zulu=zu;Egyptian Arabic=arz;Kinyarwanda=rw;Sichuanese=zh;Amharic=am;\
Malayalam=ml;Malay=ms;Gujarati=gu;Tok Pisin=tpi;Northern Sami=se;Guarani=gn;Sioux=sio;Lingala=ln;Nahuatl=nah;\
Galician=gl;Hakka Chinese=hak;Corsican=co;Moroccan Arabic=ary;Jin=cjy;Lithuanian=lt;Lao=lo;Abkhaz=ab;\
Ancient Greek=grc;Na'vi=art;Hawaiian=haw;Aramaic=arc;Azerbaijani=az;Embera=cmp;Wu Chinese=wuu;Mohawk=moh;\
parseltongue=art;Yolŋu=aus;Klingon=tlh;Senufo=alv;Nadsat=art;Egyptian language=egy;Australian English=en-AU;\
Atlantean=art;Scottish Gaelic=gd;Ayacucho Quechua=quy;artistic language=art;Yoruba=yo;Plautdietsch=pdt;Tatar=tt;\
Isan=tts;Telugu=te;Seediq=trv;Juǀʼhoansi=ktz;Shuwa=shu;Asháninka=cni;German Sign Language=gsg;multiple languages=mul;\
Mayan=myn;Herero=hz;Brazilian Portuguese=pt-BR;Burmese=my;Belarusian=be;Picard=pcd;Lombard=lmo;Crow=cro;\
Salish–Spokane–Kalispel=fla;Esperanto=eo;Spanglish=mul;Syriac=syr;Warlpiri=wbp;Dzongkha=dz;\
American Sign Language=ase;Classical Arabic=ar;Singaporean Hokkien=nan;Baoulé=bci;Northern Sotho=nso;Gullah=gul;\
Tajik=tg;Mooré=mos;Kuna=cuk;Haryanvi=bgc;Australian Aboriginal English=en-AU;Shanghainese=wuu;Tswana=tn;Tigrinya=ti;\
Zoroastrian Dari=gbz;Luganda=lg;Bhojpuri=bho;Rajasthani=raj;Slovene=sl;Balinese=ban;Kyrgyz=ky;Jamaican Patois=jam;\
Occitan=oc;Welsh=cy;Iñupiaq=ik;Meitei=mni;Quebec French=fr-CA;Modern Hebrew=he;Judeo-Moroccan=aju;Fula=ff;Pulaar=fuc;\
Songhay=son;Tuareg=tmh;Samoan=sm;Ukrainian Sign Language=ukl;Cameroon Pidgin=wes;Navajo=nv;Javanese=jv;Latvian=lv;\
Maltese=mt;Basque=eu;Nepali=ne;Aka=axk;Yaka=yaf;Sesotho=st;Kashmiri=ks""".split(";"))  # fmt: skip

FILMS = """
    SELECT ID, imdbID, Title, Year, omdb.Rating, Runtime, Genre, Director, Writer, "Cast", Language, Country,
           Oscars, tomatoes.Reviews, tomatoes.BoxOffice
    FROM omdb JOIN tomatoes USING (ID)
    ORDER BY Released, imdbID
"""  # in order of release, so that the newest film is added last


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()

    counts, seen_ids = Counter(), set()
    lines = [
        json.dumps(build_line(*film, seen_ids, counts), ensure_ascii=False, separators=(",", ":"))
        for film in read_films(options.wheel)
    ]
    if len(lines) != TITLES:
        sys.exit(f"expected {TITLES} films, found {len(lines)}")
    write_gzip(options.out, "\n".join(lines) + "\n")
    print(f"{len(lines)} titles, {options.out.stat().st_size} bytes")
    for change, count in sorted(counts.items()):
        print(f"{count:>7}  {change}")


def read_films(wheel):
    data = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{MEMBER} in {wheel} is not the file this script was written for")
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(data)
        file.flush()
        return sqlite3.connect(file.name).execute(FILMS).fetchall()


def write_gzip(path, text):
    compressed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=compressed, compresslevel=9, mtime=0) as file:
        file.write(text.encode())
    path.write_bytes(compressed.getvalue())


def build_line(wikidata_id, imdb_id, title, year, rating, runtime, genres, directors, writers, cast, languages,
               countries, oscars, reviews, box_office, seen_ids, counts):  # fmt: skip
    """One film in the catalogue file format, without the fields that are empty in the source."""
    line = {
        "external_id": external_id(imdb_id, wikidata_id, seen_ids, counts),
        "kind": "movie",
        "title": title,
        "year": year,
        "runtime_s": runtime_s(runtime, counts),
        "genres": genre_codes(genres, counts),
        "age_rating": age_rating(rating, counts),
        "languages": lookup_codes(LANGUAGES, "language", languages, counts),
        "countries": lookup_codes(COUNTRIES, "country", countries, counts),
        "credits": credits(directors, writers, cast, counts),
        "external_ids": {"imdb": imdb_id, "wikidata": f"Q{wikidata_id}"},
        "popularity": popularity(reviews, box_office, oscars),
    }
    return {name: value for name, value in line.items() if value}


def external_id(imdb_id, wikidata_id, seen_ids, counts):
    """The IMDb id; the Wikidata id for a film whose IMDb id an earlier film already has in the source."""
    if imdb_id not in seen_ids:
        seen_ids.add(imdb_id)
        return f"imdb:{imdb_id}"
    counts["external id: two cuts of a film share an IMDb id, Wikidata id used for the later one"] += 1
    return f"wikidata:Q{wikidata_id}"


def runtime_s(minutes, counts):
    if minutes is None:
        counts["runtime: none in the source"] += 1
        return None
    if minutes < SHORTEST_FEATURE_MIN:
        counts[f"runtime: under {SHORTEST_FEATURE_MIN} minutes, dropped as an error"] += 1
        return None
    return round(minutes * 60)


def genre_codes(genres, counts):
    codes = [genre.lower() for genre in genres.split(", ") if genre]
    if not codes:
        counts["genres: none in the source"] += 1
    return codes


def age_rating(rating, counts):
    if rating is None:
        counts["age rating: none in the source, unrated"] += 1
        return None
    if rating == "M/PG":
        counts["age rating: M/PG mapped to US:PG"] += 1
    return RATINGS[rating]


def lookup_codes(table, kind, names, counts):
    """The codes of comma-separated names, without duplicates, in the source's order.

    Raises KeyError for an unknown name.
    """
    codes = [table[name] for name in (names or "").split(", ") if name]
    if not codes:
        counts[f"{kind}: none in the source"] += 1
    unique = list(dict.fromkeys(codes))
    if len(unique) < len(codes):
        counts[f"{kind}: two names of one title share a code, duplicate dropped"] += len(codes) - len(unique)
    return unique


def credits(directors, writers, cast, counts):
    by_role = [("director", directors), ("writer", writers), ("actor", cast)]
    for role, names in by_role:
        if not names:
            counts[f"{role}: none in the source"] += 1
    return [{"name": name, "role": role} for role, names in by_role for name in split_names(names, counts)]


def split_names(text, counts):
    """The names of a comma-separated list; names that contain a comma themselves are rejoined."""
    names = []
    for part in filter(None, (text or "").split(", ")):
        if names and (part in SUFFIXES or (names[-1], part) in GROUPS):
            counts["credits: a name split at its own comma, rejoined"] += 1
            names[-1] += f", {part}"
        elif part in NOT_PEOPLE:
            counts["credits: not a person, dropped"] += 1
        else:
            names.append(part)
    unique = list(dict.fromkeys(names))
    counts["credits: named twice in one role, duplicate dropped"] += len(names) - len(unique)
    counts["credits: imported"] += len(unique)
    return unique


def popularity(reviews, box_office_usd, oscars):
    """The number of critics' reviews, plus 1 per 4 million dollars of box office, plus 20 per Oscar."""
    return (reviews or 0) + round((box_office_usd or 0) / 4_000_000) + 20 * oscars


if __name__ == "__main__":
    main()
