"""What a query would be if another keyboard layout were active: `vfnhbwf` is `матрица` typed with English letters."""

_QWERTY = "qwertyuiop[]asdfghjkl;'zxcvbnm,./`"
_LAYOUTS = (
    "йцукенгшщзхъфывапролджэячсмитьбю.ё",
    "/'קראטוןםפ][שדגכעיחלךף,זסבהנמצתץ.;",
)
"""Russian and Hebrew, key by key."""


def retyped_queries(query: str) -> list[str]:
    """Return a query in other layouts: one in ASCII as Russian and as Hebrew, and one in those as English."""
    typed = query.lower()
    if typed.isascii():
        return [typed.translate(str.maketrans(_QWERTY, layout)) for layout in _LAYOUTS]
    letters = {letter for letter in typed if not letter.isascii()}
    return [typed.translate(str.maketrans(layout, _QWERTY)) for layout in _LAYOUTS if letters <= set(layout)]
