"""Fields for what people type for others to read: names, and longer texts."""

import unicodedata
from typing import Any

from marshmallow import ValidationError

from streamsvc.rules.names import find_forbidden_character, is_visible
from streamsvc.schemas.base import Text


class Name(Text):
    """A name in NFC, on one line and visible: without controls, bidi controls, invisible and unassigned characters."""

    allows_line_breaks = False

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        text = unicodedata.normalize("NFC", super()._deserialize(value, attr, data, **kwargs))
        if char := find_forbidden_character(text, self.allows_line_breaks):
            raise ValidationError(f"Must not contain the invisible or control character U+{ord(char):04X}.")
        if text and not is_visible(text):
            raise ValidationError("Must contain a visible character.")
        return text


class Message(Name):
    """A text of several lines, under the same rules as a name."""

    allows_line_breaks = True
