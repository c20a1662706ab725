"""DASH manifests (ISO/IEC 23009-1): the representations that a viewer may watch, with an absolute base URL.

Representations that are too high are removed, and adaptation sets of which none is left; audio, subtitles and
thumbnails stay. What would make a player ask another server for another manifest, or fetch media elsewhere, is removed,
or the manifest is invalid. Elements count by their local names, since players disregard their namespaces.

Import this module when a manifest is served: lxml takes 0.05 s to import and 6 MB of memory.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urljoin, urlsplit

from lxml import etree

from streamsvc.rules.playback.media_paths import UNLIMITED_HEIGHT

MAX_URLS = 10_000
"""How many URLs all representations together may have, without the numbers of segments in templates."""
MAX_BASES = 20
MAX_HEIGHT_DIGITS = 6
NEVER_RESOLVED = "urn:mpeg:dash:resolve-to-zero:2013"
"""Where an element that a player is to leave out refers to."""
REMOTE = {"href", "base"}
"""The attributes of XLink and XML Base."""
OTHER_MANIFESTS = {"Location", "PatchLocation", "ContentSteering"}
OTHER_MANIFEST_SCHEMES = {"urn:mpeg:dash:fallback:2016", "urn:mpeg:dash:chaining:2016"}
SEGMENTS = {"SegmentBase", "SegmentList", "SegmentTemplate"}
URL_ATTRIBUTES = ("media", "initialization", "index", "bitstreamSwitching", "sourceURL", "initializationPrincipal")
LARGEST = ("maxWidth", "maxHeight", "maxBandwidth", "maxFrameRate")
_IDENTIFIER = re.compile(r"\$(RepresentationID|Bandwidth|Number|SubNumber|Time|)(?:%0[0-9]+[diouxX])?\$")
_AMBIGUOUS = re.compile(r"[\x00-\x1f\x7f\\]")  # which browsers drop, or read as a slash


class InvalidManifest(ValueError):
    """The text is not a DASH manifest that can be filtered."""


def filter_dash_manifest(
    text: str, url: str, is_allowed: Callable[[int | None, str], bool], is_own_host: Callable[[str], bool]
) -> str | None:
    """Return the manifest without the representations that are not allowed; None if no video is left.

    `url` is the manifest's. `is_allowed(height, url)` decides on each URL of a representation, whose height is in lines
    and None if the manifest does not say it. `is_own_host(host)`: whether media may be there. Raises InvalidManifest.
    """
    manifest = _Manifest(_parse(text), url, is_own_host)
    manifest.remove_references()
    had_video, has_video = False, False
    for representation in manifest.find_all("Representation"):
        height = _height(representation)
        is_kept = all([is_allowed(height, target) for target in manifest.list_urls(representation)])
        if _is_video(representation):
            had_video, has_video = True, has_video or is_kept
        if not is_kept:
            _remove_representation(representation)
    if had_video and not has_video:
        return None
    manifest.set_base()
    return str(etree.tostring(manifest.root, encoding="UTF-8", xml_declaration=True), "utf-8")


def _parse(text: str) -> Any:
    """Parse the manifest. Only a DOCTYPE can define or load entities, and no manifest needs one."""
    if "<!DOCTYPE" in text:
        raise InvalidManifest("it has a DOCTYPE")
    parser = etree.XMLParser(
        encoding="utf-8", resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
    )
    try:
        root = etree.fromstring(text.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise InvalidManifest(f"it is not XML: {error}") from None
    if _name(root) != "MPD":
        raise InvalidManifest("the root element is not MPD")
    return root


class _Manifest:
    """A parsed manifest and the URLs in it."""

    def __init__(self, root: Any, url: str, is_own_host: Callable[[str], bool]) -> None:
        self.root, self.url, self.is_own_host = root, url, is_own_host
        self.remaining_urls = MAX_URLS
        self._named: dict[Any, tuple[list[str], list[str]]] = {}

    def find_all(self, name: str) -> list[Any]:
        return [element for element in self.root.iter(etree.Element) if _name(element) == name]

    def remove_references(self) -> None:
        """Remove elements that lead to other manifests. Raises InvalidManifest for parts that are elsewhere."""
        for element in list(self.root.iter(etree.Element)):
            remote = [value for name, value in element.attrib.items() if _local(name) in REMOTE]
            if any(target.strip() != NEVER_RESOLVED for target in remote) or _name(element) == "ImportedMPD":
                raise InvalidManifest(f"a part of it is elsewhere: {_name(element)}")
            if _name(element) == "BaseURL" and len(element):
                raise InvalidManifest("a base URL has elements")
            leads_away = element.get("schemeIdUri", "").strip().lower() in OTHER_MANIFEST_SCHEMES
            if (remote or leads_away or _name(element) in OTHER_MANIFESTS) and element is not self.root:
                element.getparent().remove(element)
        for element in self.root.iter(etree.Element):
            for reference in [*_bases(element), *_references(element)]:
                self.resolve(self.url, reference)

    def list_urls(self, representation: Any) -> Iterator[str]:
        """Return the URLs of a representation: its bases, and what is fetched below them, with 0 for numbers."""
        bases, references = [self.url], list[str]()
        for level in [*reversed(list(representation.iterancestors())), representation]:
            own_bases, own_references = self._named_by(level)
            if len(bases) * len(own_bases) > MAX_BASES:
                raise InvalidManifest("it has too many base URLs")
            if own_bases:
                bases = [self.resolve(base, own) for base in bases for own in own_bases]
            references += own_references
        yield from self._count(bases)
        values = {"": "$", "RepresentationID": representation.get("id", "")}
        values["Bandwidth"] = representation.get("bandwidth", "")
        for reference in references:
            expanded = _IDENTIFIER.sub(lambda identifier: values.get(identifier[1], "0"), reference)
            yield from self._count([self.resolve(base, expanded) for base in bases])

    def _named_by(self, level: Any) -> tuple[list[str], list[str]]:
        """Return the base URLs and the references of segments that an element has for all below it."""
        if level not in self._named:
            parts = [part for child in level if _name(child) in SEGMENTS for part in child.iter(etree.Element)]
            references = [reference for part in parts for reference in _references(part)]
            self._named[level] = ([base for child in level for base in _bases(child)], references)
        return self._named[level]

    def _count(self, urls: list[str]) -> list[str]:
        self.remaining_urls -= len(urls)
        if self.remaining_urls < 0:
            raise InvalidManifest("it has too many URLs")
        return urls

    def resolve(self, base: str, reference: str) -> str:
        """Return an absolute URL. Raises InvalidManifest if it leaves the hosts of the media."""
        try:
            target = urljoin(base, reference)
            own, parts = urlsplit(reference), urlsplit(target)
            is_relative = not own.scheme and not reference.startswith("//")
            is_own = parts.scheme in ("http", "https") and self.is_own_host(parts.hostname or "")
        except ValueError as error:
            raise InvalidManifest(f"a URL is not valid: {error}") from None
        if _AMBIGUOUS.search(reference) or not is_own or not (is_relative or own.netloc):
            raise InvalidManifest(f"a URL leaves the hosts of the media: {reference[:100]}")
        return target

    def set_base(self) -> None:
        """Make the base URLs of the manifest absolute, since it is not served from where its media are."""
        bases = [child for child in self.root if _name(child) == "BaseURL"]
        if not bases:
            bases = [etree.Element(etree.QName(etree.QName(self.root).namespace, "BaseURL"))]
            about = [child for child in self.root if _name(child) == "ProgramInformation"]
            self.root.insert(len(about), bases[0])
        for element in bases:
            element.text = self.resolve(self.url, (element.text or "").strip() or ".")


def _name(element: Any) -> str:
    return _local(element.tag)


def _local(name: str) -> str:
    """Return a name without its namespace."""
    return name.rpartition("}")[2]


def _bases(element: Any) -> list[str]:
    return [(element.text or "").strip()] if _name(element) == "BaseURL" else []


def _references(element: Any) -> list[str]:
    return [value.strip() for name in URL_ATTRIBUTES if (value := element.get(name)) is not None]


def _inherited(representation: Any, name: str) -> str:
    """Return an attribute of a representation, or else of its adaptation set."""
    own, of_set = representation.get(name), representation.getparent().get(name, "")
    return str(of_set if own is None else own).strip()


def _is_image(representation: Any) -> bool:
    """Whether it has thumbnails, whose height is that of many pictures in one."""
    return any(_inherited(representation, name).startswith("image") for name in ("mimeType", "contentType"))


def _is_video(representation: Any) -> bool:
    is_named = any(_inherited(representation, name).startswith("video") for name in ("mimeType", "contentType"))
    return is_named or _height(representation) is not None


def _height(representation: Any) -> int | None:
    value = _inherited(representation, "height")
    if not value or _is_image(representation):
        return None
    is_number = value.isascii() and value.isdecimal() and len(value) <= MAX_HEIGHT_DIGITS
    return int(value) if is_number else UNLIMITED_HEIGHT


def _remove_representation(representation: Any) -> None:
    """Remove a representation, and its adaptation set if it was the last one."""
    adaptation_set = representation.getparent()
    adaptation_set.remove(representation)
    for name in LARGEST:
        adaptation_set.attrib.pop(name, None)
    has_others = any(_name(child) == "Representation" for child in adaptation_set)
    if not has_others and adaptation_set.getparent() is not None:
        adaptation_set.getparent().remove(adaptation_set)
