"""The signers of STREAMSVC_MEDIA_SIGNERS."""

import msgspec

from streamsvc.rules.playback.signers.akamai import Akamai
from streamsvc.rules.playback.signers.bunny import Bunny
from streamsvc.rules.playback.signers.cloudfront import CloudFront
from streamsvc.rules.playback.signers.fastly import Fastly
from streamsvc.rules.playback.signers.mux import Mux
from streamsvc.rules.playback.signers.path_tokens import HmacToken, SecureLink

MediaSigner = Akamai | Bunny | CloudFront | Fastly | HmacToken | Mux | SecureLink


def parse_signers(entries: object) -> tuple[MediaSigner, ...]:
    """Return the signers of a list of objects, each with `signer` and its fields. Raises ValueError."""
    try:
        signers = msgspec.convert(entries, type=list[MediaSigner])
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    hosts = [signer.host for signer in signers]
    if len(set(hosts)) < len(hosts):
        raise ValueError("must have one signer for each host")
    return tuple(signers)
