// Plays an HLS stream in a video element, with the stream's playback token.
//
// hls.js sends the token in a header and always the latest one, so it plays wherever the browser lets scripts feed a
// video. A browser's own HLS player, in Safari on older iPhones, sends no header: it gets the token in the URLs, and the
// latest one when it has been refused. hls.js comes in its light build; the subtitles are read here.
const LIBRARY = "storefront/vendor/hls.light.min.js";
const PUBLIC_URL = document.querySelector("meta[name=public-url]")?.content || location.origin;
const RETRY_AFTER_MS = 10_000;
let library = null;

// The service names its media at its public URL. The page may be open at another name of the same service.
export function ownUrl(url) {
  const parsed = new URL(url, location.href);
  return parsed.origin === new URL(PUBLIC_URL, location.href).origin
    ? location.origin + parsed.pathname + parsed.search
    : parsed.href;
}
const loadLibrary = () =>
  (library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.onload = () => resolve(window.Hls);
    script.onerror = () => {
      library = null;
      script.remove();
      reject(new Error("hls.js"));
    };
    script.src = LIBRARY;
    document.head.append(script);
  }));

// Resolves when the master playlist is read: {isStandIn, destroy}. `onError(error)` gets what ends the playback.
export async function attachMedia(video, url, { token, startAt, onQuality, onError }) {
  const source = ownUrl(url);
  const get = async (address) => {
    const response = await fetch(address, { headers: { Authorization: `Bearer ${token()}` } });
    if (!response.ok)
      throw Object.assign(new Error(`${response.status}`), {
        status: response.status,
        ...(await response.json().catch(() => ({}))),
      });
    return response.text();
  };
  const master = parseMaster(await get(source), source);
  const canFeed = "ManagedMediaSource" in window || "MediaSource" in window;
  const engine = canFeed
    ? await feedVideo(video, source, { token, startAt, onQuality, onError })
    : playNatively(video, source, { token, startAt, onError });
  if (canFeed) addSubtitles(video, master.subtitles, get);
  return { isStandIn: master.isStandIn, destroy: engine };
}

async function feedVideo(video, source, { token, startAt, onQuality, onError }) {
  const Hls = await loadLibrary();
  const hls = new Hls({
    enableWorker: false, // it would be a script from a blob, which the page's policy forbids
    startPosition: startAt || -1,
    capLevelToPlayerSize: false,
    xhrSetup: (xhr, address) => {
      xhr.open("GET", ownUrl(address), true);
      xhr.setRequestHeader("Authorization", `Bearer ${token()}`);
    },
  });
  let recoveredAt = 0;
  hls.on(Hls.Events.LEVEL_SWITCHED, (_, { level }) => onQuality(hls.levels[level]?.height));
  hls.on(Hls.Events.ERROR, (_, data) => {
    if (!data.fatal) return;
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && Date.now() - recoveredAt > RETRY_AFTER_MS) {
      recoveredAt = Date.now();
      hls.recoverMediaError();
      return;
    }
    onError({ status: data.response?.code, details: data.details });
  });
  hls.loadSource(source);
  hls.attachMedia(video);
  return () => hls.destroy();
}
function playNatively(video, source, { token, startAt, onError }) {
  let loadedAt = 0;
  const load = (position) => {
    const address = new URL(source);
    address.searchParams.set("grant", token());
    loadedAt = Date.now();
    video.src = address.href;
    video.addEventListener(
      "loadedmetadata",
      () => {
        if (position) video.currentTime = position;
      },
      { once: true },
    );
  };
  video.addEventListener("error", () => {
    if (Date.now() - loadedAt > RETRY_AFTER_MS) {
      const position = video.currentTime;
      load(position);
      video.play().catch(() => {});
    } else onError({ details: video.error?.message });
  });
  load(startAt);
  return () => {
    video.removeAttribute("src");
    video.load();
  };
}

const attributes = (line) =>
  Object.fromEntries(
    [...line.matchAll(/([A-Z0-9-]+)=("[^"]*"|[^",]*)/g)].map(([, name, value]) => [name, value.replaceAll('"', "")]),
  );
export function parseMaster(text, base) {
  const lines = text.split(/\r?\n/);
  const subtitles = lines
    .filter((line) => line.startsWith("#EXT-X-MEDIA:"))
    .map(attributes)
    .filter(({ TYPE, URI }) => TYPE === "SUBTITLES" && URI)
    .map(({ NAME, LANGUAGE, URI }) => ({ name: NAME, language: LANGUAGE, url: ownUrl(new URL(URI, base)) }));
  return {
    subtitles,
    isStandIn: lines.some(
      (line) => line.startsWith("#EXT-X-SESSION-DATA:") && attributes(line)["DATA-ID"] === "streamsvc.stand-in",
    ),
  };
}

// A text track for each language, whose cues are fetched when it is first shown.
function addSubtitles(video, subtitles, get) {
  for (const { name, language, url } of subtitles) {
    const track = video.addTextTrack("subtitles", name, language);
    track.mode = "disabled";
    track.source = { url, isLoaded: false };
  }
  video.textTracks.addEventListener("change", () => {
    for (const track of video.textTracks) {
      if (track.mode === "disabled" || !track.source || track.source.isLoaded) continue;
      track.source.isLoaded = true;
      loadCues(track, get).catch(() => {
        track.source.isLoaded = false;
      });
    }
  });
}
async function loadCues(track, get) {
  const playlist = await get(track.source.url);
  for (const line of playlist.split(/\r?\n/).filter((each) => each && !each.startsWith("#"))) {
    for (const cue of parseCues(await get(ownUrl(new URL(line, track.source.url))))) track.addCue(cue);
  }
}
const seconds = (text) => text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
export function parseCues(text) {
  return text
    .replaceAll("\r", "")
    .split(/\n{2,}/)
    .map((block) => block.split("\n"))
    .map((lines) => {
      const timing = lines.findIndex((line) => line.includes("-->"));
      const times = timing < 0 ? null : lines[timing].match(/([\d:.]+)\s+-->\s+([\d:.]+)/);
      return times && new VTTCue(seconds(times[1]), seconds(times[2]), lines.slice(timing + 1).join("\n"));
    })
    .filter(Boolean);
}
