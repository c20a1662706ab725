"""Draw which part of the package imports which, as docs/architecture.svg, from tests/service/house.txt.

    python -m scripts.draw_architecture

tests/service/test_house.py compares that list with the code, and tests/service/test_docs_site.py the drawing with it.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
HOUSE, DRAWING = ROOT / "tests/service/house.txt", ROOT / "docs/architecture.svg"
BASE = "settings · clock · logs · tracing"
GROUPS = dict.fromkeys(("clock", "logs", "settings", "setting_checks", "setting_parsers", "tracing"), BASE)
"""Parts that are drawn as one."""
NAMES = {"app": "app", "cli": "cli (command line)", "rules": "rules (plain functions, no input or output)"}
HEIGHT, GAP_Y, MARGIN, CHARACTER, PADDING, GAP_X = 40, 56, 20, 8, 16, 60
WIDTH, EDGE = 760, 12
"""EDGE: how far from a box's corner an arrow may end."""


def read_imports() -> dict[str, set[str]]:
    """Return which parts each part of the package imports."""
    imports: dict[str, set[str]] = {}
    for line in HOUSE.read_text().splitlines():
        if line and not line.startswith("#"):
            folder, _, targets = line.partition(":")
            part = _part_of(folder)
            imports.setdefault(part, set()).update(map(_part_of, targets.split()))
    return {part: targets - {part} for part, targets in imports.items()}


def _part_of(folder: str) -> str:
    name = folder.strip().split("/")[0]
    return GROUPS.get(name, name)


def arrange_floors(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the parts by floor, the top first: each directly below the lowest that imports it."""

    def height_of(part: str) -> int:
        return 1 + max(map(height_of, imports[part]), default=-1)

    def floor_of(part: str) -> int:
        importers = [other for other, targets in imports.items() if part in targets]
        return min(map(floor_of, importers)) - 1 if importers else height_of(part)

    def longest_arrow(part: str) -> int:
        return max(
            (floor_of(part) - floor_of(end) for start, end in list_direct_arrows(imports) if start == part), default=0
        )

    floors: dict[int, list[str]] = {}
    for part in sorted(imports, key=lambda part: (longest_arrow(part), part)):
        floors.setdefault(floor_of(part), []).append(part)
    return [floors[floor] for floor in sorted(floors, reverse=True)]


def list_direct_arrows(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others: A to C is left out if A imports B and B, in turn, C."""

    def reach(part: str) -> set[str]:
        return imports[part].union(*map(reach, imports[part]))

    return sorted(
        (part, target)
        for part, targets in imports.items()
        for target in targets
        if not any(target in reach(other) for other in targets - {target})
    )


def draw(imports: dict[str, set[str]]) -> str:
    """Return the drawing as SVG."""
    floors, boxes = arrange_floors(imports), {}
    for row, parts in enumerate(floors):
        widths = [CHARACTER * len(NAMES.get(part, part)) + 2 * PADDING for part in parts]
        x = (WIDTH - sum(widths) - GAP_X * (len(parts) - 1)) // 2
        for part, width in zip(parts, widths, strict=True):
            boxes[part] = (x, MARGIN + row * (HEIGHT + GAP_Y), width)
            x += width + GAP_X
    height = 2 * MARGIN + len(floors) * (HEIGHT + GAP_Y) - GAP_Y
    size = f'width="{WIDTH}" height="{height}"'
    arrows = [_draw_arrow(boxes[part], boxes[target]) for part, target in list_direct_arrows(imports)]
    labels = [_draw_box(NAMES.get(part, part), *box) for part, box in boxes.items()]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" {size}>',
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8"'
            ' orient="auto"><path d="M0 0 8 4 0 8z" fill="#5a5a6b"/></marker></defs>',
            f'<rect {size} fill="#ffffff"/>',
            *arrows,
            *labels,
            "</svg>\n",
        ]
    )


def _draw_arrow(source: tuple[int, int, int], target: tuple[int, int, int]) -> str:
    x1, y1 = source[0] + source[2] // 2, source[1] + HEIGHT
    x2, y2 = min(max(x1, target[0] + EDGE), target[0] + target[2] - EDGE), target[1]
    return f'<path d="M{x1} {y1}L{x2} {y2}" stroke="#5a5a6b" stroke-width="1.5" marker-end="url(#head)"/>'


def _draw_box(label: str, x: int, y: int, width: int) -> str:
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{HEIGHT}" rx="8" fill="#eef0fb" stroke="#3b4fd0"/>'
        f'<text x="{x + width // 2}" y="{y + 25}" font-family="system-ui, sans-serif" font-size="14" '
        f'text-anchor="middle" fill="#1a1a22">{label}</text>'
    )


if __name__ == "__main__":
    DRAWING.write_text(draw(read_imports()))
