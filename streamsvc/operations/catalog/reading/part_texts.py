"""Texts of episodes in the language of the reader."""

from functools import lru_cache
from typing import Literal

import msgspec

from streamsvc.rules.catalog.codes import language_fallbacks

_texts_decoder = msgspec.json.Decoder(dict[str, dict[str, str | None]])


def localized_text(localizations: str | None, language: str | None, name: Literal["title", "synopsis"]) -> str | None:
    """Return a text of stored localizations in the closest language that has it; None if none has it."""
    if not localizations or not language:
        return None
    texts = _texts_decoder.decode(localizations)
    return next((text for tag in _fallbacks(language) if (text := texts.get(tag, {}).get(name))), None)


@lru_cache(maxsize=1_000)
def _fallbacks(language: str) -> list[str]:
    return list(language_fallbacks(language))
