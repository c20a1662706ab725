// A month as a table: on which days, in UTC, a title may be watched, and where.
import { button, h } from "./dom.js";

const DAY_MS = 86_400_000,
  MOST_NAMED = 3;
const format = (options) => new Intl.DateTimeFormat(undefined, { timeZone: "UTC", ...options });
const MONTH = format({ month: "long", year: "numeric" }),
  WEEKDAY = format({ weekday: "short" }),
  DATE = format({ dateStyle: "long" });
const MONDAY = Date.UTC(2024, 0, 1);

// `windows()` returns those to show, at each `draw()`.
export function monthView(windows) {
  const today = new Date().setUTCHours(0, 0, 0, 0);
  let first = startOfMonth(today, 0);
  const table = h("table", { class: "month" });
  const go = (to) => {
    first = to;
    draw();
  };
  function draw() {
    const shown = windows();
    const days = (startOfMonth(first, 1) - first) / DAY_MS,
      blank = (new Date(first).getUTCDay() + 6) % 7;
    const cells = Array.from({ length: Math.ceil((blank + days) / 7) * 7 }, (_, index) => index - blank).map((day) =>
      day >= 0 && day < days ? dayCell(first + day * DAY_MS, today, shown) : h("td"),
    );
    table.replaceChildren(
      h("caption", { "aria-live": "polite" }, MONTH.format(first)),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          Array.from({ length: 7 }, (_, day) => h("th", { scope: "col" }, WEEKDAY.format(MONDAY + day * DAY_MS))),
        ),
      ),
      h(
        "tbody",
        {},
        Array.from({ length: cells.length / 7 }, (_, week) => h("tr", {}, cells.slice(week * 7, week * 7 + 7))),
      ),
    );
  }
  draw();
  const element = h(
    "div",
    { class: "stack" },
    h(
      "p",
      { class: "actions" },
      button("Previous month", () => go(startOfMonth(first, -1))),
      button("This month", () => go(startOfMonth(today, 0))),
      button("Next month", () => go(startOfMonth(first, 1))),
    ),
    table,
  );
  return { element, draw };
}

function startOfMonth(time, months) {
  const date = new Date(time);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + months);
}

function dayCell(start, today, windows) {
  const open = windows.filter(
    ({ starts_at, ends_at }) =>
      (!starts_at || Date.parse(starts_at) < start + DAY_MS) && (!ends_at || Date.parse(ends_at) > start),
  );
  return h(
    "td",
    { class: open.length && "open", "aria-current": start === today && "date" },
    h("time", { datetime: new Date(start).toISOString().slice(0, 10), title: DATE.format(start) }, dayOf(start)),
    open.map((window) => h("small", {}, place(window), hours(window, start))),
  );
}
const dayOf = (start) => new Date(start).getUTCDate();
const place = ({ countries }) =>
  !countries ? "all" : countries.length > MOST_NAMED ? `${countries.length} countries` : countries.join(", ");

// From when, or until when, if the window begins or ends within the day.
function hours({ starts_at, ends_at }, start) {
  const within = (moment) => moment && Date.parse(moment) > start && Date.parse(moment) < start + DAY_MS;
  return [
    within(starts_at) && ` from ${starts_at.slice(11, 16)}`,
    within(ends_at) && ` until ${ends_at.slice(11, 16)}`,
  ];
}
