"""Collect the fonts of the invoices from Debian's packages into streamsvc/data/fonts, without their hinting.

    apt-get download fonts-noto-core fonts-wqy-microhei && for file in *.deb; do dpkg -x $file fonts; done
    python scripts/collect_fonts.py fonts

Printed documents need no hinting; without it the fonts are half as large. Everything else is unchanged.
"""

import sys
from pathlib import Path

from fontTools import subset

SCRIPTS = """Adlam Arabic Armenian Balinese Bengali CanadianAboriginal Cham Cherokee Coptic Devanagari Ethiopic Georgian
Gujarati Gurmukhi Hebrew Javanese Kannada Khmer Lao Malayalam Mongolian Myanmar NKo Oriya Sinhala Symbols Syriac
TaiTham Tamil Telugu Thaana Thai Tibetan Tifinagh Vai Yi""".split()
TARGET = Path(__file__).parent.parent / "streamsvc" / "data" / "fonts"


def collect_fonts(source: Path) -> None:
    """Write the fonts; a script without a sans-serif font gets the serif one."""
    noto = source / "usr/share/fonts/truetype/noto"
    files = [noto / f"NotoSans-{style}.ttf" for style in ("Regular", "Bold")]
    for script in SCRIPTS:
        names = [f"Noto{kind}{script}-Regular.ttf" for kind in ("Sans", "Serif")]
        files.append(next(noto / name for name in names if (noto / name).exists()))
    files.append(source / "usr/share/fonts/truetype/wqy/wqy-microhei.ttc")
    TARGET.mkdir(parents=True, exist_ok=True)
    for file in files:
        options = subset.Options(
            font_number=0, hinting=False, layout_features=["*"], glyph_names=False, notdef_outline=True
        )
        options.name_IDs, options.name_languages, options.drop_tables = ["*"], ["*"], ["DSIG", "FFTM"]
        font = subset.load_font(str(file), options)
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=font.getBestCmap())
        subsetter.subset(font)
        subset.save_font(font, str(TARGET / f"{file.stem}.ttf"), options)


if __name__ == "__main__":
    collect_fonts(Path(sys.argv[1]))
