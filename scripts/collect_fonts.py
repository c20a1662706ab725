"""Collect the fonts of the invoices from Debian's packages into streamsvc/data/fonts, without their hinting.

    apt-get download fonts-noto-core fonts-wqy-microhei && for file in *.deb; do dpkg -x $file fonts; done
    python scripts/collect_fonts.py fonts

Printed documents need no hinting; without it the fonts are half as large. The font for Chinese, Japanese and Korean is
cut into parts, of which most documents need one: loading all of it takes seconds.
"""

import sys
from collections.abc import Iterable
from pathlib import Path

from fontTools import subset

SCRIPTS = """Adlam Arabic Armenian Balinese Bengali CanadianAboriginal Cham Cherokee Coptic Devanagari Ethiopic Georgian
Gujarati Gurmukhi Hebrew Javanese Kannada Khmer Lao Malayalam Mongolian Myanmar NKo Oriya Sinhala Symbols Syriac
TaiTham Tamil Telugu Thaana Thai Tibetan Tifinagh Vai Yi""".split()
TARGET = Path(__file__).parent.parent / "streamsvc" / "data" / "fonts"
RARE_PARTS = 5


def collect_fonts(source: Path) -> None:
    """Write the fonts; a script without a sans-serif font gets the serif one."""
    noto = source / "usr/share/fonts/truetype/noto"
    TARGET.mkdir(parents=True, exist_ok=True)
    for file in (noto / f"NotoSans-{style}.ttf" for style in ("Regular", "Bold")):
        write_part(file, file.stem)
    for script in SCRIPTS:
        files = [noto / f"Noto{kind}{script}-Regular.ttf" for kind in ("Sans", "Serif")]
        file = next(file for file in files if file.exists())
        write_part(file, file.stem)
    cjk = source / "usr/share/fonts/truetype/wqy/wqy-microhei.ttc"
    for name, letters in split_cjk(set(load_font(cjk).getBestCmap())):
        write_part(cjk, f"wqy-microhei-{name}", letters)


def split_cjk(letters: set[int]) -> Iterable[tuple[str, set[int]]]:
    """Yield the parts of the font for Chinese, Japanese and Korean.

    `common` has everything but Hangul and those ideographs that are neither among the frequent ones of JIS X 0208
    (level 1) nor of GB 2312 (level 1); these make up the `rare` parts.
    """
    hangul = {letter for letter in letters if 0xAC00 <= letter <= 0xD7A3}
    frequent = set(list_frequent("euc_jp", range(0xB0, 0xD0))) | set(list_frequent("gb2312", range(0xB0, 0xD8)))
    rare = sorted(letter for letter in letters if letter >= 0x3400 and chr(letter).isalpha() and letter not in hangul)
    rare = [letter for letter in rare if 0x3400 <= letter <= 0x9FFF or letter >= 0x20000]
    rare = [letter for letter in rare if letter not in frequent]
    yield "hangul", hangul
    yield "common", letters - hangul - set(rare)
    size = -(-len(rare) // RARE_PARTS)
    for part in range(RARE_PARTS):
        yield f"rare{part + 1}", set(rare[part * size : (part + 1) * size])


def list_frequent(encoding: str, rows: range) -> Iterable[int]:
    """Yield the ideographs of these rows of a two-byte character set."""
    for row in rows:
        for cell in range(0xA1, 0xFF):
            text = bytes((row, cell)).decode(encoding, "ignore")
            if text:
                yield ord(text)


def load_font(file: Path) -> subset.ttLib.TTFont:
    return subset.load_font(str(file), subset_options())


def subset_options() -> subset.Options:
    options = subset.Options(font_number=0, hinting=False, layout_features=["*"], notdef_outline=True)
    options.name_IDs, options.name_languages, options.drop_tables = ["*"], ["*"], ["DSIG", "FFTM"]
    return options


def write_part(file: Path, name: str, letters: set[int] | None = None) -> None:
    """Write the font with these letters, or with all of them."""
    font = load_font(file)
    subsetter = subset.Subsetter(subset_options())
    subsetter.populate(unicodes=font.getBestCmap() if letters is None else letters)
    subsetter.subset(font)
    subset.save_font(font, str(TARGET / f"{name}.ttf"), subset_options())


if __name__ == "__main__":
    collect_fonts(Path(sys.argv[1]))
