"""Standard codes: countries of ISO 3166-1, IANA time zones, and the syntax of BCP 47 language tags."""

import re
import zoneinfo

COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
    CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO
    FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE
    JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO
    MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM
    TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW XK
    """.split()
)
"""ISO 3166-1 alpha-2, and XK, the code in use for Kosovo, which has none."""
TIME_ZONES = frozenset(zoneinfo.available_timezones())
"""The names of the IANA time zones; read once, since it opens hundreds of files."""

_LANGUAGE_TAG = re.compile(
    r"[A-Za-z]{2,3}(-[A-Za-z]{4})?(-(?:[A-Za-z]{2}|[0-9]{3}))?(-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"
)


def normalize_language_tag(tag: str) -> str:
    """Return a BCP 47 tag in its usual case: `pt-br` → `pt-BR`. Raises ValueError if it is not a tag."""
    if not _LANGUAGE_TAG.fullmatch(tag):
        raise ValueError(f"{tag!r} is not a language tag such as en, pt-BR or zh-Hant-TW.")
    first, *rest = tag.split("-")
    return "-".join([first.lower(), *(_normalize_subtag(part) for part in rest)])


def _normalize_subtag(part: str) -> str:
    if len(part) == 2:
        return part.upper()
    return part.title() if len(part) == 4 and part.isalpha() else part.lower()


def language_fallbacks(tag: str | None) -> list[str]:
    """Return the tags to try, best first (RFC 4647 lookup): `zh-Hant-TW`, `zh-Hant`, `zh`. Empty for None."""
    parts = tag.split("-") if tag else []
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]
