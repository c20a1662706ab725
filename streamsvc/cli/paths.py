"""Arguments that are paths."""

from pathlib import Path
from typing import Any

import click


class PathArgument(click.Path):
    """A path that is not empty: `click.Path` would read an empty text, such as an unset variable, as this folder."""

    def __init__(self, dir_okay: bool = True):
        super().__init__(dir_okay=dir_okay, path_type=Path)

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> Any:
        if not str(value):
            self.fail("must not be empty", parameter, context)
        return super().convert(value, parameter, context)
