// Titles and channels as cards, rows and grids.
import { catalog } from "./api.js";
import { actions, button, h } from "./dom.js";
import { countryName, formatClock, formatList, formatRuntime, formatTime, t } from "./i18n.js";

// A poster of the catalogue if it comes from this host, which alone the page may load images from; else a drawn one.
export function poster(title, attributes = {}) {
  const own = (title.artwork ?? []).find(
    ({ role, url }) => role === "poster" && new URL(url, location.href).origin === location.origin,
  );
  return h("img", {
    class: "poster",
    src: own?.url ?? `v1/catalog/titles/${title.id}/poster.svg`,
    alt: "",
    width: 300,
    height: 450,
    loading: "lazy",
    decoding: "async",
    ...attributes,
  });
}
// A coloured square with a letter, for a profile.
export function avatar(name) {
  const element = h("span", { class: "avatar", "aria-hidden": "true" }, [...name][0]?.toUpperCase() ?? "?");
  element.style.setProperty(
    "--hue",
    [...name].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7),
  );
  return element;
}
export const episodeName = ({ season, number, title }) =>
  [t("Season {season}, episode {number}", { season, number }), title].filter(Boolean).join(": ");

export function card(title) {
  const { episode, progress } = title;
  const kind = title.kind === "series" ? t("Series") : title.runtime_s && formatRuntime(title.runtime_s);
  const caption = episode ? [episodeName(episode)] : [title.year, kind];
  return h(
    "li",
    {},
    h(
      "a",
      { class: "card", href: `#/title/${title.id}` },
      h(
        "span",
        { class: "frame" },
        poster(title),
        progress &&
          h("progress", { max: progress.duration_s ?? 1, value: progress.position_s, "aria-label": t("watched") }),
      ),
      h("strong", {}, title.title),
      h("small", {}, caption.filter(Boolean).join(" · ") || " "),
    ),
  );
}
export const titleRow = (titles) => h("ul", { class: "title-row" }, titles.map(card));

// A live channel: what is on, how far it is, and what comes next.
export function channelCard({ id, name, number, now, next, title, starts_at, channel }) {
  if (channel) ({ id, name, number } = channel); // a programme that was found
  const progress =
    now &&
    h("progress", {
      max: Date.parse(now.ends_at) - Date.parse(now.starts_at),
      value: Date.now() - Date.parse(now.starts_at),
      "aria-label": t("elapsed"),
    });
  return h(
    "a",
    { class: "channel card", href: `#/channel/${id}` },
    h("strong", {}, [number, name].filter(Boolean).join(" ")),
    title
      ? h(
          "span",
          {},
          Date.parse(starts_at) > Date.now() ? `${formatTime(starts_at)}: ${title}` : t("Now: {title}", { title }),
        )
      : now !== undefined && h("span", {}, now?.title ?? t("No programme is known.")),
    progress,
    next && h("small", {}, `${formatClock(next.starts_at)} ${next.title}`),
  );
}
export const channelList = (channels) =>
  h(
    "ul",
    { class: "channels" },
    channels.map((channel) => h("li", {}, channelCard(channel))),
  );

export function pagedGrid(path, firstPage, list = h("ul", { class: "grid" }), item = card) {
  list.append(...firstPage.items.map(item));
  let cursor = firstPage.next_cursor;
  const more = button(t("Show more"), async () => {
    const page = await catalog(`${path}&cursor=${encodeURIComponent(cursor)}`);
    const firstNew = list.children.length;
    list.append(...page.items.map(item));
    list.children[firstNew]?.querySelector("a").focus();
    more.hidden = !(cursor = page.next_cursor);
  });
  more.hidden = !cursor;
  return [list, actions(more)];
}

// A sentence about a title without a synopsis, from what the catalogue knows.
export function describeTitle({ year, countries, credits }) {
  const people = (role, most) =>
    formatList(
      credits
        .filter((credit) => credit.role === role)
        .slice(0, most)
        .map((credit) => credit.name),
    );
  const directors = people("director", 3),
    places = formatList(countries.slice(0, 3).map(countryName));
  return [
    [places, year].filter(Boolean).join(", ").concat("."),
    directors && t("Directed by {people}.", { people: directors }),
  ]
    .filter((sentence) => sentence && sentence !== ".")
    .join(" ");
}
