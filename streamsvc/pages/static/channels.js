// Live channels: the list, and one channel with its guide.
import { catalog } from "./api.js";
import { accessMessage, genreName } from "./browse.js";
import { actions, h, heading, itemList, link, muted, section } from "./dom.js";
import { formatClock, t } from "./i18n.js";
import { channelCard, pagedGrid } from "./titles.js";

export async function channels() {
  const path = "/channels?limit=30",
    page = await catalog(path);
  if (!page.items.length) return [heading(t("Channels")), muted(t("There are no channels for you here."))];
  return [
    heading(t("Channels")),
    pagedGrid(path, page, h("ul", { class: "channels" }), (channel) => h("li", {}, channelCard(channel))),
  ];
}
export async function channel(id) {
  const [details, guide] = await Promise.all([
    catalog(`/channels/${id}`),
    catalog(`/channels/${id}/programmes?limit=20`),
  ]);
  const { playable, reason, starts_at } = details.availability;
  return [
    heading([details.number, details.name].filter(Boolean).join(" ")),
    muted(
      [details.group, details.age_rating?.label, details.genres.map((code) => genreName(code)).join(", ")]
        .filter(Boolean)
        .join(" · "),
    ),
    details.now &&
      h("p", {}, t("Now: {title}, until {time}", { title: details.now.title, time: formatClock(details.now.ends_at) })),
    actions(playable ? link(`#/play/${id}`, t("Watch live"), "button primary") : accessMessage(reason, starts_at)),
    section(
      t("Programme"),
      itemList(
        guide.items,
        (item) => [
          h(
            "span",
            {},
            h("strong", {}, formatClock(item.starts_at)),
            ` ${item.title}`,
            item.subtitle && `: ${item.subtitle}`,
          ),
          item.synopsis && h("span", { class: "muted" }, item.synopsis),
        ],
        t("No programmes are listed."),
      ),
    ),
  ];
}
