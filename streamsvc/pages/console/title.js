// One title: its common fields, its windows, its artwork, and everything else as the record that the API takes.
import { api, can, get } from "./api.js";
import { change } from "./dialog.js";
import { button, facts, h, link, notify, panel } from "./dom.js";
import { area, form, input, optional } from "./form.js";
import { monthView } from "./month.js";

const lines = (list) => (list ?? []).join(", ");
const split = (text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter(Boolean);
const numberOrNull = (text) => (text === "" ? null : Number(text));
const moment = (text) => (text ? `${text}:00Z` : null);

export async function editTitle(id, show) {
  const path = `/admin/titles/${encodeURIComponent(id)}`;
  const record = await get(path),
    mayWrite = can("catalog", true);
  const save = async (patch) => {
    await api("PATCH", path, patch, { headers: { "If-Match": record.etag } }).catch((error) => {
      throw error.status === 412
        ? new Error("Somebody else changed this title. Reload the page, then try again.")
        : error;
    });
    notify(`${record.title} is saved.`);
    await show();
  };
  const tab = [
    h("p", { class: "crumbs" }, link("#/catalog", "Titles")),
    h("h1", {}, record.title),
    facts([
      ["Id", h("code", {}, record.id)],
      ["External id", h("code", {}, record.external_id)],
      ["Kind", record.kind],
    ]),
  ];
  if (!mayWrite) return [...tab, panel("Record", h("pre", {}, JSON.stringify(record, null, 1)))];
  return [
    ...tab,
    panel("Fields", fields(record, save)),
    panel("Windows", windows(record, save)),
    panel("Artwork", artwork(record, save)),
    panel("Whole record", whole(record, path, show)),
    h(
      "p",
      { class: "actions" },
      button(
        "Remove from the catalogue",
        () =>
          change({
            title: `Remove ${record.title}`,
            verb: "Remove",
            danger: true,
            explain: "Nobody can find or play it any more. A title with the same external id gets its id back.",
            done: () => {
              location.hash = "#/catalog";
            },
            run: async () => {
              await api("DELETE", path);
              return `${record.title} is removed.`;
            },
          }),
        { class: "danger" },
      ),
    ),
  ];
}

const fields = (record, save) =>
  form(
    "Save",
    ({ title, original_title, synopsis, year, minutes, age_rating, ...lists }) =>
      save({
        title,
        original_title: original_title || null,
        synopsis: synopsis || null,
        year: numberOrNull(year),
        ...(record.kind === "movie" && { runtime_s: minutes === "" ? null : Math.round(Number(minutes) * 60) }),
        age_rating: age_rating || null,
        ...Object.fromEntries(
          Object.entries(lists).map(([name, text]) => [name, name === "plans" && !text ? null : split(text)]),
        ),
      }),
    [
      h(
        "div",
        { class: "columns" },
        input("Title", "title", { value: record.title, maxlength: 500 }),
        optional("Original title", "original_title", { value: record.original_title ?? "", maxlength: 500 }),
        optional("Year", "year", { type: "number", min: 1870, max: 2200, value: record.year ?? "" }),
        record.kind === "movie" &&
          optional("Minutes", "minutes", {
            type: "number",
            min: 0,
            step: "any",
            value: record.runtime_s ? record.runtime_s / 60 : "",
          }),
        optional("Age rating", "age_rating", { value: record.age_rating ?? "", hint: "Such as US:R.", maxlength: 64 }),
        optional("Genres", "genres", { value: lines(record.genres), hint: "Separated by commas." }),
        optional("Languages", "languages", { value: lines(record.languages) }),
        optional("Countries of origin", "countries", { value: lines(record.countries) }),
        optional("Tags", "tags", { value: lines(record.tags) }),
        optional("Plans", "plans", { value: lines(record.plans), hint: "Empty: every plan." }),
      ),
      area("Synopsis", "synopsis", { value: record.synopsis ?? "", maxlength: 20000 }),
    ],
  );

// Where and when it may be watched: no window is nowhere, and "everywhere, always" is no list at all.
function windows(record, save) {
  const list = h("div", { class: "stack", oninput: () => redraw() });
  const add = (window = {}) =>
    list.append(
      h(
        "fieldset",
        { class: "inline" },
        h("legend", { class: "visually-hidden" }, "Window"),
        optional("Countries", "countries", { value: lines(window.countries), hint: "Empty: all." }),
        optional("From (UTC)", "starts_at", { type: "datetime-local", value: window.starts_at?.slice(0, 16) ?? "" }),
        optional("Until (UTC)", "ends_at", { type: "datetime-local", value: window.ends_at?.slice(0, 16) ?? "" }),
        h(
          "button",
          {
            type: "button",
            onclick: (event) => {
              event.target.closest("fieldset").remove();
              redraw();
            },
          },
          "Remove",
        ),
      ),
    );
  for (const window of record.windows ?? []) add(window);
  const read = () =>
    [...list.children].map((row) => {
      const value = (name) => row.querySelector(`[name="${name}"]`).value;
      return {
        countries: value("countries") ? split(value("countries")) : null,
        starts_at: moment(value("starts_at")),
        ends_at: moment(value("ends_at")),
      };
    });
  const month = monthView(read),
    bars = h("div", { class: "calendar" }),
    days = h("div", {}, h("h3", {}, "Days on which it may be watched (UTC)"), month.element);
  function redraw() {
    days.hidden = !list.children.length;
    bars.replaceChildren(timeline(read()) ?? "");
    month.draw();
  }
  redraw();
  return [
    h(
      "p",
      { class: "muted" },
      record.windows
        ? record.windows.length
          ? "It may be watched in these windows."
          : "It may be watched nowhere."
        : "It may be watched everywhere, always.",
    ),
    bars,
    form("Save the windows", () => save({ windows: read() }), [list], {
      extra: [
        button("Add a window", () => {
          add();
          redraw();
        }),
        button("Everywhere, always", () => save({ windows: null })),
      ],
    }),
    days,
  ];
}

// The windows as bars over the months around them.
function timeline(windows) {
  const times = windows
    .flatMap(({ starts_at, ends_at }) => [starts_at, ends_at])
    .filter(Boolean)
    .map(Date.parse);
  if (!times.length) return null;
  const first = Math.min(Date.now(), ...times),
    last = Math.max(Date.now(), ...times),
    span = Math.max(1, last - first);
  const at = (moment, fallback) => (((moment ? Date.parse(moment) : fallback) - first) / span) * 100;
  return h(
    "ul",
    { class: "plain" },
    windows.map(({ countries, starts_at, ends_at }) => {
      const bar = h("meter", { class: "window", min: 0, max: 100, value: 100, "aria-hidden": "true" });
      bar.style.setProperty("margin-left", `${at(starts_at, first)}%`);
      bar.style.setProperty("width", `${Math.max(1, at(ends_at, last) - at(starts_at, first))}%`);
      return h(
        "li",
        {},
        `${countries?.join(", ") ?? "Everywhere"}: ${starts_at?.slice(0, 10) ?? "always"} to ${ends_at?.slice(0, 10) ?? "open end"}`,
        bar,
      );
    }),
  );
}

function artwork(record, save) {
  const value = (record.artwork ?? [])
    .map(({ role, url, width, height, language }) =>
      [role, url, width, height, language].filter((part) => part != null).join(" "),
    )
    .join("\n");
  const read = (text) =>
    text
      .split("\n")
      .map((row) => row.trim())
      .filter(Boolean)
      .map((row) => {
        const [role, url, width, height, language = null] = row.split(/\s+/);
        return { role, url, width: numberOrNull(width ?? ""), height: numberOrNull(height ?? ""), language };
      });
  return form("Save the artwork", ({ artwork }) => save({ artwork: read(artwork) }), [
    area("Artwork", "artwork", {
      value,
      hint: "One a line: role, address, width, height, language. Such as: poster https://images.example/p.jpg 600 900",
    }),
  ]);
}

const whole = (record, path, show) =>
  h(
    "details",
    {},
    h("summary", {}, "As JSON, with credits, localizations, seasons and media"),
    form(
      "Replace the record",
      async ({ json }) => {
        let body;
        try {
          body = JSON.parse(json);
        } catch (error) {
          throw new Error(`This is not JSON: ${error.message}`);
        }
        await api("PUT", path, body, { headers: { "If-Match": record.etag } });
        notify("The record is replaced.");
        await show();
      },
      [
        area("Record", "json", {
          rows: 20,
          spellcheck: "false",
          value: JSON.stringify(Object.fromEntries(Object.entries(record).filter(([name]) => name !== "id")), null, 1),
        }),
      ],
    ),
  );
