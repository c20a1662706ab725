// The player: one item, with subtitles, speed, keyboard, the next episode, and what to do when too many screens play.
import { api, catalog, idempotent, state } from "./api.js";
import { actions, ask, button, facts, h, heading, link, muted, notify, select } from "./dom.js";
import { formatPosition, formatTime, language, qualityName, t, tn } from "./i18n.js";
import { attachMedia } from "./media.js";
import { ACCESS_MESSAGES, STREAM_END_MESSAGES } from "./messages.js";
import { keepAlive } from "./stream.js";
import { episodeName } from "./titles.js";

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 2],
  SKIP_S = 10,
  NEXT_AFTER_S = 8;

// What plays: its name, the page it belongs to, and the episode that follows.
async function loadItem(id) {
  if (id.startsWith("epi_")) {
    const episode = await catalog(`/episodes/${id}`);
    const series = await catalog(`/titles/${episode.title_id}?expand=seasons`);
    const episodes = series.seasons.flatMap((season) => season.episodes);
    const next = episodes
      .slice(episodes.findIndex((each) => each.id === id) + 1)
      .find((each) => each.availability.playable && each.season > 0);
    return { name: series.title, part: episodeName(episode), back: `#/title/${series.id}`, next };
  }
  if (id.startsWith("chn_")) return { name: (await catalog(`/channels/${id}`)).name, back: `#/channel/${id}` };
  if (id.startsWith("ttl_")) return { name: (await catalog(`/titles/${id}`)).title, back: `#/title/${id}` };
  return { name: t("Playing"), back: "#/" };
}

function refusal(id, error) {
  const takeOver = ({ device, stream_id, position_s }) =>
    h(
      "li",
      {},
      h(
        "span",
        {},
        device.name ?? t("Another device"),
        h("span", { class: "muted" }, ` ${t("at {position}", { position: formatPosition(position_s ?? 0) })}`),
      ),
      link(`#/play/${id}?replace=${stream_id}`, t("Stop it and play here"), "button primary"),
    );
  const needsPlan = ["subscription_required", "not_in_plan"].includes(error.code);
  return [
    heading(error.streams ? t("Too many screens") : t("This cannot be played")),
    h(
      "p",
      { class: "error" },
      error.streams
        ? tn(
            "Your plan plays on {n} screen at once. This one does already:",
            "Your plan plays on {n} screens at once. These do already:",
            error.limit ?? error.streams.length,
          )
        : (ACCESS_MESSAGES[error.code] ?? error.message),
    ),
    error.streams && h("ul", { class: "list" }, error.streams.map(takeOver)),
    actions(
      (needsPlan || error.streams) && link("#/plans", t("See plans"), needsPlan ? "button primary" : "button"),
      error.devices && link("#/devices", t("See your devices")),
      link("#/", t("Home")),
    ),
  ];
}

export async function play(id, query, page) {
  let stream, item;
  try {
    item = await loadItem(id);
    stream = await api(
      "POST",
      "/playback",
      { item_id: id, ...(query.get("replace") && { replace: query.get("replace") }) },
      idempotent(),
    );
  } catch (error) {
    if (!error.code || ["not_signed_in", "unreachable"].includes(error.code)) throw error;
    return refusal(id, error);
  }
  const player = new Player(id, item, stream, page);
  player.start();
  return player.nodes();
}

class Player {
  constructor(id, item, stream, page) {
    Object.assign(this, { id, item, stream, page, state: "starting", engine: null, countdown: null });
    this.video = h("video", {
      playsinline: true,
      controls: true,
      "aria-label": item.part ? `${item.name}, ${item.part}` : item.name,
      tabindex: 0,
    });
    this.overlay = h("div", { class: "overlay", role: "status" }, t("Loading…"));
    this.quality = h("span", {}, "–");
    this.screens = h("span", {}, "–");
    this.notice = h(
      "p",
      { class: "warning", role: "note", hidden: true },
      t("The demo has no video of this title, so you see a test picture in its place."),
    );
    this.subtitles = select(t("Subtitles"), "subtitles", [["", t("Off")]], "", {
      onchange: ({ target }) => this.showSubtitles(target.value),
    });
    this.speed = select(
      t("Speed"),
      "speed",
      SPEEDS.map((speed) => [String(speed), `${speed}×`]),
      "1",
      { onchange: ({ target }) => (this.video.playbackRate = Number(target.value)) },
    );
    this.life = keepAlive(stream, {
      now: () => ({ position_s: this.video.currentTime, duration_s: this.video.duration, state: this.state }),
      onEnd: (reason) => this.end(reason),
      onAsk: () => this.askStillWatching(),
      onLimits: ({ current, max }) => (this.screens.textContent = t("{current} of {max}", { current, max })),
      onError: (error) => notify(error.message),
    });
    this.screens.textContent = t("{current} of {max}", stream.limits);
  }

  nodes() {
    const { item, stream } = this;
    const next =
      item.next &&
      link(`#/play/${item.next.id}`, [
        t("Next episode"),
        h("span", { class: "visually-hidden" }, `: ${item.next.title ?? ""}`),
      ]);
    return h(
      "div",
      { class: "player" },
      heading(item.name),
      item.part && muted(item.part),
      this.notice,
      h("div", { class: "stage" }, this.video, this.overlay),
      h(
        "div",
        { class: "controls" },
        this.skipButton(-SKIP_S, t("Back {n} seconds", { n: SKIP_S })),
        this.skipButton(SKIP_S, t("Forward {n} seconds", { n: SKIP_S })),
        this.subtitles,
        this.speed,
        next,
        link(item.back, t("Stop")),
      ),
      muted(t("Picture"), ": ", this.quality, " · ", t("Screens"), ": ", this.screens),
      h(
        "details",
        {},
        h("summary", {}, t("Keyboard and technical details")),
        h("br"),
        facts([
          [t("Space, K"), t("play or pause")],
          [t("← →, J L"), t("back or forward {n} seconds", { n: SKIP_S })],
          ["C", t("subtitles")],
          ["< >", t("slower or faster")],
          ["M", t("mute")],
          ["F", t("full screen")],
          ...(item.next ? [["N", t("next episode")]] : []),
        ]),
        h("br"),
        facts([
          [t("Manifest"), stream.manifests.map(({ type, url }) => h("div", {}, `${type}: ${url.split("?")[0]}`))],
          [
            t("Maximum height in your plan"),
            stream.limits.max_height ? `${qualityName(stream.limits.max_height)} (${stream.limits.max_height})` : "–",
          ],
          [t("Token valid until"), formatTime(stream.grant.expires_at)],
          [t("Stream"), stream.stream_id],
        ]),
      ),
    );
  }

  async start() {
    const { video, stream, page } = this;
    this.watchVideo();
    const onKey = (event) => this.pressKey(event);
    document.addEventListener("keydown", onKey);
    const gone = new Promise((resolve) =>
      page.onLeave(() => {
        document.removeEventListener("keydown", onKey);
        this.close();
        this.life.leave();
        resolve();
      }),
    );
    const hls = stream.manifests.find(({ type }) => type === "hls");
    if (!hls) return this.fail(t("This title comes in a format that this page does not play."));
    try {
      const engine = await attachMedia(video, hls.url, {
        token: this.life.token,
        startAt: stream.resume_s,
        onQuality: (height) => (this.quality.textContent = qualityName(height)),
        onError: (error) => this.failToPlay(error),
      });
      this.engine = engine;
      gone.then(engine.destroy);
      this.notice.hidden = !engine.isStandIn;
      this.fillSubtitles();
      if (stream.resume_s) notify(t("Resumed at {position}", { position: formatPosition(stream.resume_s) }));
      await video.play().catch(() => this.clearOverlay()); // a browser may want a click first; the video's own button is there
    } catch (error) {
      this.failToPlay(error);
    }
  }

  watchVideo() {
    const { video } = this;
    const report = (state) => {
      if (this.state !== state) {
        this.state = state;
        this.life.send(state);
      }
    };
    video.addEventListener("playing", () => {
      this.clearOverlay();
      report("playing");
    });
    video.addEventListener("pause", () => {
      if (!video.ended && !video.seeking) report("paused");
    });
    video.addEventListener("waiting", () => {
      if (this.state === "playing") this.state = "buffering";
    });
    video.addEventListener("seeked", () => {
      if (this.state !== "starting") this.life.send(video.paused ? "paused" : "playing");
    });
    video.addEventListener("ended", () => this.finish());
    video.addEventListener("ratechange", () => {
      this.speed.lastChild.value = String(video.playbackRate);
    });
    for (const name of ["pointerdown", "keydown"]) video.addEventListener(name, () => this.life.noteInteraction());
  }
  finish() {
    this.state = "ended";
    this.life.send("ended");
    const { next } = this.item;
    if (!next)
      return this.cover(
        h("p", {}, t("You have watched it to the end.")),
        actions(
          button(t("Play again"), () => this.page.show(), { class: "primary" }),
          link(this.item.back, t("Back")),
        ),
      );
    const left = h("span", {});
    const go = () => location.assign(`#/play/${next.id}`);
    let seconds = NEXT_AFTER_S;
    const count = () => {
      left.textContent = tn("Starts in {n} second", "Starts in {n} seconds", seconds);
      if (seconds-- === 0) {
        clearInterval(this.countdown);
        go();
      }
    };
    if (state.me.profile?.autoplay !== false) {
      count();
      this.countdown = setInterval(count, 1000);
    }
    this.cover(
      h("p", {}, episodeName(next)),
      muted(left),
      actions(
        button(t("Play next episode"), go, { class: "primary" }),
        button(t("Not now"), () => {
          clearInterval(this.countdown);
          location.assign(this.item.back);
        }),
      ),
    );
    this.overlay.querySelector("button").focus();
  }

  fillSubtitles() {
    const options = [...this.video.textTracks]
      .filter((track) => track.source)
      .map((track) => h("option", { value: track.language }, track.label));
    this.subtitles.lastChild.append(...options);
    this.subtitles.hidden = options.length === 0;
    this.video.textTracks.addEventListener("change", () => {
      // the video's own menu may change it, too
      const shown = [...this.video.textTracks].find((track) => track.mode === "showing");
      this.subtitles.lastChild.value = localStorage.subtitles = shown?.language ?? "";
    });
    if (localStorage.subtitles) this.showSubtitles(localStorage.subtitles);
  }
  skipButton(s, text) {
    return button(
      [
        h("span", { "aria-hidden": "true" }, `${s < 0 ? "−" : "+"}${Math.abs(s)} s`),
        h("span", { class: "visually-hidden" }, text),
      ],
      () => this.skip(s),
    );
  }
  showSubtitles(code) {
    for (const track of this.video.textTracks) track.mode = track.language === code ? "showing" : "disabled";
  }
  skip(s) {
    this.life.noteInteraction();
    this.video.currentTime = Math.max(0, Math.min(this.video.duration || 0, this.video.currentTime + s));
  }

  pressKey(event) {
    if (
      event.altKey ||
      event.ctrlKey ||
      event.metaKey ||
      document.querySelector("dialog") ||
      event.target.matches("input, select, textarea")
    )
      return;
    if (event.key === " " && event.target.matches("button, a, summary")) return;
    const { video } = this,
      speed = SPEEDS.indexOf(video.playbackRate);
    const act = {
      " ": () => this.toggle(),
      k: () => this.toggle(),
      ArrowLeft: () => this.skip(-SKIP_S),
      j: () => this.skip(-SKIP_S),
      ArrowRight: () => this.skip(SKIP_S),
      l: () => this.skip(SKIP_S),
      m: () => (video.muted = !video.muted),
      f: () => (document.fullscreenElement ? document.exitFullscreen() : video.requestFullscreen?.()),
      c: () => {
        const on = this.subtitles.lastChild.value;
        this.showSubtitles(
          on
            ? ""
            : ([...this.subtitles.lastChild.options].find(({ value }) => value === language)?.value ??
                this.subtitles.lastChild.options[1]?.value ??
                ""),
        );
      },
      "<": () => (video.playbackRate = SPEEDS[Math.max(0, speed - 1)]),
      ">": () => (video.playbackRate = SPEEDS[Math.min(SPEEDS.length - 1, speed + 1)]),
      n: () => this.item.next && location.assign(`#/play/${this.item.next.id}`),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    this.life.noteInteraction();
    act();
  }
  toggle() {
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  cover(...children) {
    this.overlay.replaceChildren(...children);
    this.overlay.hidden = false;
  }
  clearOverlay() {
    this.overlay.hidden = true;
  }
  close() {
    clearInterval(this.countdown);
    this.video.pause();
  }
  end(reason) {
    this.close();
    this.engine?.destroy();
    this.cover(
      h("p", { class: "error" }, STREAM_END_MESSAGES[reason] ?? t("Playback ended.")),
      actions(
        button(t("Play here"), () => this.page.show(), { class: "primary" }),
        link(this.item.back, t("Back")),
      ),
    );
  }
  failToPlay(error) {
    if (error.status === 401 || error.status === 410) return this.life.send(this.state); // the heartbeat learns why
    const elsewhere = this.stream.manifests
      .map(({ url }) => new URL(url, location.href))
      .find((url) => url.origin !== location.origin && !url.pathname.startsWith("/v1/playback/"));
    this.fail(
      elsewhere
        ? t("The video could not be loaded from {host}.", { host: elsewhere.host })
        : t("The video could not be loaded."),
      elsewhere?.href,
    );
  }
  fail(text, address) {
    this.cover(
      h("p", { class: "error" }, text),
      address ? h("p", { class: "muted" }, address) : "",
      actions(
        button(t("Try again"), () => this.page.show()),
        link(this.item.back, t("Back")),
      ),
    );
  }
  async askStillWatching() {
    if (document.querySelector("dialog")) return;
    if (await ask(t("Are you still watching?"), this.item.name, t("Yes"), t("No"))) {
      this.life.noteInteraction();
      this.life.send(this.state);
    } else location.assign(this.item.back);
  }
}
