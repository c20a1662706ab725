"""Make streamsvc/demo/catalog.ndjson.gz from the CC0 film table of the PyPI package bokeh-sampledata.

    pip download --no-deps bokeh-sampledata==2026.1
    python scripts/make_demo_catalog.py bokeh_sampledata-2026.1-py3-none-any.whl

The same wheel gives the same bytes. What is changed or left out on the way is counted and printed.
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

# A name with a comma inside was cut in two by the source's ", "; these belong to the name before them.
SUFFIXES = {"Jr.", "Sr."}
GROUPS = {("Earth", "Wind & Fire"), ("Crosby", "Stills & Nash"), ("Blood", "Sweat & Tears")}
NOT_PEOPLE = {"list of The Young and the Restless characters (2013)"}

SHORTEST_FEATURE_MIN = 5  # below this the source's runtime is a slip, e.g. 1 minute for Machuca

# Names of states that are no more, or of parts of one, go to the code of the state that succeeded them.
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

# BCP 47: two letters where there are two, else ISO 639-3, else the family (639-5); `art` for the invented ones.
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
"""  # the order of release: the newest film is the one added last


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("wheel", type=Path)
    arguments.add_argument("--out", type=Path, default=OUT)
    given = arguments.parse_args()

    counts, seen = Counter(), set()
    lines = [
        json.dumps(line_of(*film, seen, counts), ensure_ascii=False, separators=(",", ":"))
        for film in films_in(given.wheel)
    ]
    if len(lines) != TITLES:
        sys.exit(f"expected {TITLES} films, found {len(lines)}")
    write(given.out, "\n".join(lines) + "\n")
    print(f"{len(lines)} titles, {given.out.stat().st_size} bytes")
    for what, count in sorted(counts.items()):
        print(f"{count:>7}  {what}")


def films_in(wheel):
    data = zipfile.ZipFile(wheel).read(MEMBER)
    if hashlib.sha256(data).hexdigest() != SHA256:
        sys.exit(f"{MEMBER} in {wheel} is not the file this script was written for")
    with tempfile.NamedTemporaryFile(suffix=".db") as file:
        file.write(data)
        file.flush()
        return sqlite3.connect(file.name).execute(FILMS).fetchall()


def write(path, text):
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=9, mtime=0) as file:
        file.write(text.encode())
    path.write_bytes(packed.getvalue())


def line_of(wikidata_id, imdb_id, title, year, rating, runtime, genres, directors, writers, cast, languages, countries,
            oscars, reviews, box_office, seen, counts):  # fmt: skip
    """One film in the catalogue file's form; a field that the source leaves empty is left out."""
    line = {
        "external_id": external_id(imdb_id, wikidata_id, seen, counts),
        "kind": "movie",
        "title": title,
        "year": year,
        "runtime_s": runtime_s(runtime, counts),
        "genres": slugs(genres, counts),
        "age_rating": age_rating(rating, counts),
        "languages": codes(LANGUAGES, "language", languages, counts),
        "countries": codes(COUNTRIES, "country", countries, counts),
        "credits": credits(directors, writers, cast, counts),
        "external_ids": {"imdb": imdb_id, "wikidata": f"Q{wikidata_id}"},
        "popularity": popularity(reviews, box_office, oscars),
    }
    return {name: value for name, value in line.items() if value}


def external_id(imdb_id, wikidata_id, seen, counts):
    """The IMDb id; two films of which the source says the same one are told apart by Wikidata's for the later."""
    if imdb_id not in seen:
        seen.add(imdb_id)
        return f"imdb:{imdb_id}"
    counts["external id: one IMDb id for two cuts of a film, the later cut named by its Wikidata id"] += 1
    return f"wikidata:Q{wikidata_id}"


def runtime_s(minutes, counts):
    if minutes is None:
        counts["runtime: none in the source"] += 1
        return None
    if minutes < SHORTEST_FEATURE_MIN:
        counts[f"runtime: under {SHORTEST_FEATURE_MIN} minutes, dropped as a slip"] += 1
        return None
    return round(minutes * 60)


def slugs(genres, counts):
    found = [genre.lower() for genre in genres.split(", ") if genre]
    if not found:
        counts["genres: none in the source"] += 1
    return found


def age_rating(rating, counts):
    if rating is None:
        counts["age rating: none in the source, unrated"] += 1
        return None
    if rating == "M/PG":
        counts["age rating: M/PG mapped to US:PG"] += 1
    return RATINGS[rating]


def codes(table, what, names, counts):
    """The codes of comma-separated names, once each, in the source's order. An unknown name stops the script."""
    found = [table[name] for name in (names or "").split(", ") if name]
    if not found:
        counts[f"{what}: none in the source"] += 1
    unique = list(dict.fromkeys(found))
    if len(unique) < len(found):
        counts[f"{what}: two names of one title share a code, kept once"] += len(found) - len(unique)
    return unique


def credits(directors, writers, cast, counts):
    by_role = [("director", directors), ("writer", writers), ("actor", cast)]
    for role, listed in by_role:
        if not listed:
            counts[f"{role}: none in the source"] += 1
    return [{"name": name, "role": role} for role, listed in by_role for name in names_in(listed, counts)]


def names_in(listed, counts):
    """Names of a comma-separated list, those cut at a comma of their own put together again."""
    names = []
    for part in filter(None, (listed or "").split(", ")):
        if names and (part in SUFFIXES or (names[-1], part) in GROUPS):
            counts["credits: a name cut at its own comma, joined again"] += 1
            names[-1] += f", {part}"
        elif part in NOT_PEOPLE:
            counts["credits: not a person, dropped"] += 1
        else:
            names.append(part)
    unique = list(dict.fromkeys(names))
    counts["credits: named twice in one role, kept once"] += len(names) - len(unique)
    counts["credits: kept"] += len(unique)
    return unique


def popularity(reviews, box_office_usd, oscars):
    """Critics' reviews, plus one for each four million dollars of box office, plus twenty for each Oscar."""
    return (reviews or 0) + round((box_office_usd or 0) / 4_000_000) + 20 * oscars


if __name__ == "__main__":
    main()
