"""DASH manifests: which representations stay, that the base URL becomes absolute, and what hostile ones cannot do.

The elements are those of ISO/IEC 23009-1; the addresses that browsers read differently, those of the URL standard
(url.spec.whatwg.org).
"""

import time

import pytest
from lxml import etree

from streamsvc.rules.playback.dash_manifests import InvalidManifest, filter_dash_manifest

URL = "https://cdn.example/films/a/manifest.mpd?v=2"
LADDER = """
<AdaptationSet mimeType="video/mp4" maxWidth="1920" maxHeight="1080">
  <SegmentTemplate media="$RepresentationID$/$Number%05d$.m4s" initialization="$RepresentationID$/init.mp4"/>
  <Representation id="v1" height="1080" bandwidth="5000000"/>
  <Representation id="v2" height="720" bandwidth="2000000"/>
  <Representation id="v3" height="360" bandwidth="500000"/>
</AdaptationSet>
<AdaptationSet contentType="audio"><Representation id="a1" bandwidth="128000"/></AdaptationSet>
<AdaptationSet mimeType="image/jpeg"><Representation id="t1" width="3200" height="1800"/></AdaptationSet>
"""


def mpd(content, head="", attributes=""):
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" '
        f'xmlns:xlink="http://www.w3.org/1999/xlink" type="static" {attributes}>{head}<Period>{content}</Period></MPD>'
    )


def filtered(text, most=720, denied="/denied/", hosts=("cdn.example",)):
    asked = []

    def is_allowed(height, url):
        asked.append(url)
        return (height is None or height <= most) and denied not in url

    result = filter_dash_manifest(text, URL, is_allowed, hosts.__contains__)
    filtered.asked = asked
    return None if result is None else etree.fromstring(result.encode())


def found(root, name, attribute="id"):
    return [element.get(attribute) for element in root.iter(f"{{*}}{name}")]


def test_representations_above_the_height_are_removed():
    root = filtered(mpd(LADDER))
    assert found(root, "Representation") == ["v2", "v3", "a1", "t1"]
    assert found(root, "AdaptationSet", "maxHeight") == [None] * 3
    assert [base.text for base in root.iter("{*}BaseURL")] == ["https://cdn.example/films/a/"]
    template = next(root.iter("{*}SegmentTemplate"))
    assert template.get("media") == "$RepresentationID$/$Number%05d$.m4s", "players fill it in themselves"
    assert "https://cdn.example/films/a/v2/0.m4s" in filtered.asked


def test_an_adaptation_set_without_representations_goes_with_them():
    video = '<AdaptationSet height="{}" mimeType="video/mp4"><Representation id="v{}"/></AdaptationSet>'
    root = filtered(mpd(video.format(2160, 1) + video.format(480, 2)))
    assert found(root, "Representation") == ["v2"] and len(found(root, "AdaptationSet")) == 1
    assert filtered(mpd(video.format(2160, 1))) is None
    assert filtered(mpd(video.format("9" * 30, 1))) is None
    audio = '<AdaptationSet mimeType="audio/mp4"><Representation id="a"/></AdaptationSet>'
    assert found(filtered(mpd(audio)), "Representation") == ["a"]


@pytest.mark.parametrize(
    "content",
    [
        '<SegmentTemplate media="denied/$Number$.m4s"/>',
        '<SegmentTemplate media="$RepresentationID$/$Number$.m4s"/>',
        '<SegmentTemplate media="x.m4s" initialization="$$/$RepresentationID$/i.mp4"/>',
        "<BaseURL>denied/</BaseURL><SegmentTemplate media='x.m4s'/>",
        "<BaseURL>fine/</BaseURL><BaseURL>denied/x.mp4</BaseURL>",
        "<SegmentList><Initialization sourceURL='denied/i.mp4'/></SegmentList>",
        "<SegmentList><SegmentURL media='1.m4s'/><SegmentURL index='denied/2.idx'/></SegmentList>",
    ],
)
def test_a_path_that_is_denied_removes_its_representation(content):
    kept = '<Representation id="kept"/>'
    inside = f'<AdaptationSet mimeType="video/mp4"><Representation id="denied">{content}</Representation>'
    around = f'<AdaptationSet mimeType="video/mp4">{content}<Representation id="denied"/>'
    for opening in (inside, around):
        root = filtered(mpd(f"{opening}</AdaptationSet><AdaptationSet mimeType='video/mp4'>{kept}</AdaptationSet>"))
        assert found(root, "Representation") == ["kept"]


def test_base_urls_are_made_absolute_at_the_top_only():
    head = "<ProgramInformation/><BaseURL serviceLocation='a'> ../b/ </BaseURL><BaseURL>//b.example/b/</BaseURL>"
    content = LADDER.replace("<Representation", "<Representation", 1).replace(
        '<AdaptationSet contentType="audio">', '<AdaptationSet contentType="audio"><BaseURL>audio/</BaseURL>'
    )
    root = filtered(mpd(content, head), hosts=("cdn.example", "b.example"))
    bases = [base.text for base in root.iter("{*}BaseURL")]
    assert bases == ["https://cdn.example/films/b/", "https://b.example/b/", "audio/"]
    assert {"https://cdn.example/films/b/audio/", "https://b.example/b/audio/"} <= set(filtered.asked)
    without = filtered(mpd(LADDER, "<ProgramInformation/>"))
    assert [etree.QName(child).localname for child in without][:2] == ["ProgramInformation", "BaseURL"]


def test_what_leads_to_other_manifests_is_removed():
    head = (
        "<Location>https://evil.example/live.mpd</Location><PatchLocation>p.mpd</PatchLocation>"
        "<ContentSteering>https://evil.example/steer</ContentSteering>"
        '<SupplementalProperty schemeIdUri="urn:mpeg:dash:fallback:2016" value="https://evil.example/b.mpd"/>'
    )
    gone = '<AdaptationSet xlink:href="urn:mpeg:dash:resolve-to-zero:2013"><Representation id="gone"/></AdaptationSet>'
    root = filtered(mpd(LADDER + gone, head))
    assert b"evil.example" not in etree.tostring(root)
    assert found(root, "Representation") == ["v2", "v3", "a1", "t1"]


def segment_list(count):
    return "<SegmentList>" + "".join(f'<SegmentURL media="{n}.m4s"/>' for n in range(count)) + "</SegmentList>"


ENTITIES = "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(12))
BOMB = f'<!DOCTYPE MPD [<!ENTITY e0 "lol">{ENTITIES}]>'
AWAY = (
    "https://evil.example/",
    "//evil.example/",
    "///evil.example/",
    "/\\evil.example/",
    "\\\\evil.example/",
    "/\t/evil.example/",
    "https:evil.example/",
    "https://cdn.example@evil.example/",
    "https://cdn.example.evil.example/",
    "https://[cdn.example/",
    "ftp://cdn.example/",
    "data:video/mp4;base64,AAAA",
    "javascript:alert(1)",
)


@pytest.mark.parametrize(
    "place",
    [
        lambda url: mpd(LADDER, f"<BaseURL>{url}</BaseURL>"),
        lambda url: mpd(LADDER.replace('"128000"/>', f'"128000"><BaseURL>{url}</BaseURL></Representation>')),
        lambda url: mpd(LADDER.replace("$RepresentationID$/init.mp4", url)),
        lambda url: mpd(LADDER.replace('id="v3"', f'id="{url}"')),
        lambda url: mpd(LADDER + f'<SegmentList><SegmentURL media="{url}"/></SegmentList>'),
    ],
)
def test_media_that_are_not_on_the_hosts_of_the_manifest_are_refused(place):
    assert filtered(place("https://cdn.example/x")) is not None
    for url in AWAY:
        with pytest.raises(InvalidManifest):
            filtered(place(url.replace("\t", "&#9;")))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "#EXTM3U\n",
        "<html/>",
        "<MPD><Period></MPD>",
        mpd("&undefined;"),
        mpd("&#0;"),
        mpd("<a>" * 5000 + "</a>" * 5000),
        BOMB + "<MPD>&e12;</MPD>",
        BOMB + '<MPD type="&e12;"/>',
        '<!DOCTYPE MPD SYSTEM "http://127.0.0.1/a.dtd"><MPD/>',
        '<!DOCTYPE MPD [<!ENTITY file SYSTEM "file:///etc/passwd">]><MPD><Period><BaseURL>&file;</BaseURL></Period></MPD>',
        '<!DOCTYPE MPD [<!ENTITY % p SYSTEM "http://127.0.0.1/"> %p;]><MPD/>',
        mpd('<AdaptationSet xlink:href="https://cdn.example/more.xml"/>'),
        mpd('<x:AdaptationSet xmlns:x="http://www.w3.org/1999/xlink" x:href="more.xml"/>'),
        mpd(LADDER, attributes='xml:base="https://evil.example/"'),
        mpd("<ImportedMPD>https://cdn.example/b.mpd</ImportedMPD>"),
        mpd(LADDER, "<BaseURL>./<b>/evil.example/</b></BaseURL>"),
        mpd(LADDER, "<BaseURL>a/</BaseURL>" * 30),
        mpd(segment_list(200) + "<AdaptationSet>" + '<Representation id="a"/>' * 200 + "</AdaptationSet>"),
    ],
    ids=range(19),
)
def test_a_hostile_or_broken_manifest_is_refused_quickly(text):
    started = time.process_time()
    with pytest.raises(InvalidManifest):
        filtered(text)
    assert time.process_time() - started < 2


def test_the_largest_manifests_take_no_time_that_matters():
    timeline = "<SegmentTemplate><SegmentTimeline>" + '<S d="1"/>' * 20_000 + "</SegmentTimeline></SegmentTemplate>"
    for segments, count in ((segment_list(9_000), 1), (timeline, 2_000)):
        text = mpd(segments + "<AdaptationSet>" + '<Representation id="a"/>' * count + "</AdaptationSet>")
        started = time.process_time()
        assert len(found(filtered(text), "Representation")) == count
        assert time.process_time() - started < 3  # a fifth of a second, without the tests' own overhead


def test_other_namespaces_hide_no_representation():
    """dash.js and Shaka Player read local names."""
    text = mpd(LADDER).replace("urn:mpeg:dash:schema:mpd:2011", "urn:example:other")
    assert found(filtered(text), "Representation") == ["v2", "v3", "a1", "t1"]
    prefixed = mpd(LADDER.replace('<Representation id="v1"', '<x:Representation xmlns:x="urn:x" id="v1"'))
    assert found(filtered(prefixed), "Representation") == ["v2", "v3", "a1", "t1"]
