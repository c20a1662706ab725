// Home, genres, collections, search, people, and a title's own page.
import { api, canBrowse, catalog, isOnOwnList, ownList, state, toggleOwnList } from "./api.js";
import { actions, button, facts, h, heading, link, main, muted, section } from "./dom.js";
import { capitalize, formatPosition, formatRuntime, formatTime, languageName, t, tn } from "./i18n.js";
import { ACCESS_MESSAGES } from "./messages.js";
import { card, channelCard, channelList, describeTitle, episodeName, pagedGrid, poster, titleRow } from "./titles.js";

const searchField = document.getElementById("q");
const GENRES = {
  action: t("Action"),
  adventure: t("Adventure"),
  animation: t("Animation"),
  biography: t("Biography"),
  comedy: t("Comedy"),
  crime: t("Crime"),
  documentary: t("Documentary"),
  drama: t("Drama"),
  family: t("Family"),
  fantasy: t("Fantasy"),
  history: t("History"),
  horror: t("Horror"),
  music: t("Music"),
  musical: t("Musical"),
  mystery: t("Mystery"),
  romance: t("Romance"),
  "sci-fi": t("Science fiction"),
  short: t("Short film"),
  sport: t("Sport"),
  thriller: t("Thriller"),
  war: t("War"),
  western: t("Western"),
};
export const genreName = (code, name) => GENRES[code] ?? name ?? capitalize(code.replaceAll("-", " "));

// Why something cannot be played, and the way to the plans if one of them would help.
export const accessMessage = (reason, starts_at) => [
  h(
    "span",
    { class: "error" },
    ACCESS_MESSAGES[reason] ?? reason,
    reason === "not_yet_available" &&
      starts_at &&
      ` ${t("It will be available on {time}.", { time: formatTime(starts_at) })}`,
  ),
  ["subscription_required", "not_in_plan"].includes(reason) && link("#/plans", t("See plans"), "button primary"),
];

// The API's own titles of rows are English; those that operators write have their own localizations.
const ROW_TITLES = {
  continue: t("Continue watching"),
  next_up: t("Next up"),
  new: t("New"),
  popular: t("Popular"),
};
const BECAUSE = /^Because you watched (.+)$/;
function rowTitle({ kind, title }) {
  const watched = kind === "because" && title.match(BECAUSE)?.[1];
  if (watched) return t("Because you watched {title}", { title: watched });
  return t(title) === ROW_TITLES[kind] ? ROW_TITLES[kind] : title;
}

async function loadCatalogRows() {
  const [rows, genres, channels, collections] = await Promise.all([
    catalog("/home"),
    catalog("/genres"),
    catalog("/channels?limit=12"),
    catalog("/collections?limit=30"),
  ]);
  const codes = new Map(collections.items.map(({ id, title }) => [title, id]));
  return [
    rows,
    [
      channels.items.length > 0 &&
        section(
          t("On now"),
          h("div", { class: "channel-row" }, channels.items.map(channelCard)),
          h("p", {}, link("#/channels", t("All channels"), null)),
        ),
      rows.items.map((row) =>
        section(
          row.kind === "collection" && codes.has(row.title)
            ? h("a", { href: `#/collection/${codes.get(row.title)}` }, row.title)
            : rowTitle(row),
          titleRow(row.items),
        ),
      ),
      section(
        t("Genres"),
        actions(
          genres.items.map(({ code, name }) => link(`#/genre/${encodeURIComponent(code)}`, genreName(code, name))),
        ),
      ),
    ],
  ];
}
// The first title of the first row, large, so that one click plays it.
function featured({ items: [row] }) {
  const title = row?.items[0];
  if (!title) return null;
  const target = title.episode
    ? `#/play/${title.episode.id}`
    : title.kind === "movie"
      ? `#/play/${title.id}`
      : `#/title/${title.id}`;
  return h(
    "section",
    { class: "featured" },
    poster(title, { loading: "eager" }),
    h(
      "div",
      {},
      h("h2", {}, title.title),
      muted(title.episode ? episodeName(title.episode) : rowTitle(row)),
      title.synopsis && h("p", {}, title.synopsis),
      actions(
        link(target, playLabel(title.progress), "button primary"),
        link(`#/title/${title.id}`, t("More about it")),
      ),
    ),
  );
}
export async function home(_, __, { plans }) {
  if (state.me) {
    const [rows, shown] = await loadCatalogRows();
    return [heading(t("Home"), { class: "visually-hidden" }), featured(rows), shown];
  }
  const hero = h(
    "div",
    { class: "hero" },
    heading(t("Thousands of films. One small API.")),
    muted(t("This page is a demo of streamsvc. It uses the same API that you can call.")),
    actions(
      link("#/sign-up", t("Create an account"), "button primary"),
      link("#/sign-in", t("Sign in")),
      link("docs", t("See the API")),
    ),
  );
  if (!(await canBrowse())) return [hero, await plans()];
  const ids = ownList()
    .map(({ title_id }) => title_id)
    .join();
  const own = ids && (await catalog(`/titles?ids=${ids}&limit=100`)).items;
  return [hero, own?.length > 0 && section(t("Your list"), titleRow(own)), (await loadCatalogRows())[1], await plans()];
}
export async function genre(code) {
  const path = `/titles?genre=${encodeURIComponent(code)}&sort=-popularity&limit=30`;
  return [heading(genreName(code)), pagedGrid(path, await catalog(path))];
}
export async function collection(id) {
  const path = `/collections/${encodeURIComponent(id)}?limit=30`,
    page = await catalog(path);
  return [heading(page.title), pagedGrid(path, page)];
}
export async function search(_, query) {
  const q = query.get("q") ?? "";
  if (searchField.value !== q && document.activeElement !== searchField) searchField.value = q;
  const path = `/search?q=${encodeURIComponent(q)}&limit=30`;
  const [results, live] = await Promise.all([
    catalog(path),
    catalog(`/search?q=${encodeURIComponent(q)}&kinds=channel,programme&limit=12`),
  ]);
  return [
    heading(
      results.items.length || live.items.length ? t("Results for “{q}”", { q }) : t("No results for “{q}”", { q }),
    ),
    results.items.length > 0 && pagedGrid(path, results),
    live.items.length > 0 && section(t("Channels and programmes"), channelList(live.items)),
  ];
}

function watchlistButton(id, isListed) {
  const text = () => (isListed ? t("In your watchlist") : t("Add to watchlist"));
  const element = button(
    text(),
    async () => {
      await (state.me
        ? api(isListed ? "DELETE" : "PUT", `/profiles/${state.me.profile.id}/watchlist/${id}`)
        : toggleOwnList(id));
      isListed = !isListed;
      element.textContent = text();
      element.setAttribute("aria-pressed", isListed);
    },
    { "aria-pressed": String(!!isListed) },
  );
  return element;
}
const playLabel = (progress) =>
  progress?.resume_s ? t("Resume at {position}", { position: formatPosition(progress.resume_s) }) : t("Play");

// Where a series goes on: at the episode that is half watched, after the last one watched, else at its first.
export function nextToWatch(episodes, states) {
  const started = episodes.find(({ id }) => states.get(id)?.progress?.resume_s);
  const lastWatched = episodes.findLastIndex(({ id }) => states.get(id)?.progress?.watched);
  return started ?? episodes[lastWatched + 1] ?? episodes[0];
}
async function loadStates(ids) {
  const { items } =
    state.me?.profile && ids.length
      ? await api("GET", `/profiles/${state.me.profile.id}/state?ids=${ids.slice(0, 100).join()}`)
      : { items: [] };
  return new Map(items.map((item) => [item.id, item]));
}
function episodeItem({ id, number, title, synopsis, runtime_s, availability }, states) {
  const progress = states.get(id)?.progress;
  return h(
    "li",
    {},
    h(
      "span",
      {},
      h("strong", {}, `${number}. ${title ?? t("Episode {number}", { number })}`),
      synopsis && h("span", { class: "muted block" }, synopsis),
      progress?.watched
        ? h("small", { class: "block" }, t("Watched"))
        : progress &&
            h("progress", {
              max: progress.duration_s ?? runtime_s ?? 1,
              value: progress.position_s,
              "aria-label": t("watched"),
            }),
    ),
    runtime_s && h("span", { class: "muted" }, formatRuntime(runtime_s)),
    availability.playable &&
      link(
        `#/play/${id}`,
        h(
          "span",
          {},
          playLabel(progress),
          h("span", { class: "visually-hidden" }, ` ${t("Episode {number}", { number })}`),
        ),
      ),
  );
}
export async function title(id) {
  const details = await catalog(`/titles/${id}?expand=seasons,similar`);
  const episodes = (details.seasons ?? []).flatMap((season) => season.episodes);
  const states = await loadStates([id, ...episodes.map((episode) => episode.id)]);
  const isListed = state.me ? states.get(id)?.in_watchlist : isOnOwnList(id);
  const { playable, reason, starts_at } = details.availability;
  const next = episodes.length
    ? nextToWatch(
        episodes.filter((episode) => episode.availability.playable),
        states,
      )
    : null;
  const target = details.kind === "movie" ? id : next?.id;
  const label = next
    ? t("{play}: S{season} E{number}", {
        play: playLabel(states.get(next.id)?.progress),
        season: next.season,
        number: next.number,
      })
    : playLabel(states.get(id)?.progress);
  const people = (role) =>
    details.credits
      .filter((credit) => credit.role === role)
      .slice(0, 6)
      .map((credit) => credit.name)
      .join(", ");
  return [
    h(
      "article",
      { class: "title" },
      poster(details, { loading: "eager" }),
      h(
        "div",
        {},
        heading(details.title),
        muted(
          [
            details.year,
            details.runtime_s && formatRuntime(details.runtime_s),
            details.seasons?.length > 0 && tn("{n} season", "{n} seasons", details.seasons.length),
            details.age_rating?.label,
            details.genres.map((code) => genreName(code)).join(", "),
          ]
            .filter(Boolean)
            .join(" · "),
        ),
        h("p", {}, details.synopsis ?? describeTitle(details)),
        actions(
          playable && target && link(`#/play/${target}`, label, "button primary"),
          !playable && accessMessage(reason, starts_at),
          (!state.me || state.me.profile) && watchlistButton(id, isListed),
        ),
        facts(
          [
            [t("Cast"), people("actor")],
            [t("Directed by"), people("director")],
            [t("Written by"), people("writer")],
            [t("Languages"), details.languages.map(languageName).join(", ")],
          ].filter(([, names]) => names),
        ),
        (details.seasons ?? []).map((season) =>
          section(
            season.title ?? t("Season {number}", { number: season.number }),
            h(
              "ol",
              { class: "list" },
              season.episodes.map((episode) => episodeItem(episode, states)),
            ),
          ),
        ),
      ),
    ),
    details.similar?.length > 0 && section(t("More like this"), titleRow(details.similar)),
  ];
}

export async function watchlist() {
  const { items } = await api("GET", `/profiles/${state.me.profile.id}/watchlist?limit=100`);
  return [
    heading(t("Your watchlist")),
    items.length
      ? h(
          "ul",
          { class: "grid" },
          items.map((item) => card(item.title)),
        )
      : muted(t("Nothing is in your watchlist yet. Add titles on their pages.")),
  ];
}

let timer = null;
export function watchSearchField() {
  searchField.addEventListener("input", () => {
    clearTimeout(timer);
    const to = `#/search?q=${encodeURIComponent(searchField.value)}`;
    timer = setTimeout(() => (location.hash.startsWith("#/search") ? location.replace(to) : location.assign(to)), 180);
  });
  searchField.form.addEventListener("submit", (event) => {
    event.preventDefault();
    main.querySelector(".card")?.focus();
  });
}
