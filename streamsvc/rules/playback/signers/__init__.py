"""Signers of media URLs and cookies, one module per CDN. All are functions of their settings, a URL and a moment."""

from streamsvc.rules.playback.signers.parsing import MediaSigner, parse_signers

__all__ = ["MediaSigner", "parse_signers"]
