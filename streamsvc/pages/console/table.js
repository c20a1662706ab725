// Tables over lists of the API: pages by cursor, sorts and narrows the rows that are loaded, exports all as CSV.
import { all, get, query } from "./api.js";
import { button, counted, download, h, notify } from "./dom.js";
import { optional, valuesOf } from "./form.js";

const MOST_ROWS = 100_000, // of a file: more would take too much of the browser's memory
  SCANNED_PAGES = 100;

// columns: [{ name, value: row => text or number, cell?: row => node, numeric? }]. filters: controls whose values go into
// the query. path: of the list, or a function of the filters' values. title: the table's caption and the CSV's name.
export function table({ title, path, columns, filters = [], actions, empty = "Nothing yet.", parameters = {} }) {
  let rows = [],
    cursor = null,
    sorted = { by: null, ascending: true };
  const body = h("tbody"),
    count = h("p", { class: "muted", role: "status" });
  const narrow = optional("Filter these rows", "narrow", {
    type: "search",
    autocomplete: "off",
    oninput: () => show(),
  });
  const more = button("Show more", () => load());
  const head = columns.map((column, index) =>
    h(
      "th",
      { scope: "col", class: column.numeric && "numeric" },
      h("button", { type: "button", class: "sort", onclick: () => sort(index) }, column.name),
    ),
  );
  const bar = h(
    "form",
    {
      class: "inline",
      onsubmit: (event) => event.preventDefault(),
      onchange: (event) => event.target.name !== "narrow" && restart(),
    },
    filters,
    narrow,
    button("Export CSV", () => exportCsv(), { class: "quiet" }),
  );

  const chosen = () => {
    const { narrow: _, ...values } = valuesOf(bar);
    return { ...parameters, ...values };
  };
  const listPath = () => (typeof path === "function" ? path(chosen()) : path);
  async function load() {
    let seen = 0,
      page;
    do {
      // a page of a search may be empty and still have a next one
      page = await get(listPath() + query({ limit: 50, ...chosen(), cursor }));
      rows.push(...page.items);
      cursor = page.next_cursor ?? null;
    } while (cursor && !page.items.length && ++seen < SCANNED_PAGES);
    show();
  }
  async function restart() {
    rows = [];
    cursor = null;
    await load().catch((error) => notify(error.message));
  }
  function sort(index) {
    sorted = { by: index, ascending: sorted.by === index ? !sorted.ascending : true };
    head.forEach((cell, at) =>
      at === index
        ? cell.setAttribute("aria-sort", sorted.ascending ? "ascending" : "descending")
        : cell.removeAttribute("aria-sort"),
    );
    show();
  }
  function visible() {
    const wanted = bar.elements.narrow.value.trim().toLowerCase();
    const kept = rows.filter(
      (row) =>
        !wanted ||
        columns.some(({ value }) =>
          String(value(row) ?? "")
            .toLowerCase()
            .includes(wanted),
        ),
    );
    if (sorted.by === null) return kept;
    const { value } = columns[sorted.by],
      sign = sorted.ascending ? 1 : -1;
    return [...kept].sort((a, b) => sign * compare(value(a), value(b)));
  }
  function show() {
    const shown = visible();
    body.replaceChildren(
      ...shown.map((row) =>
        h(
          "tr",
          {},
          columns.map(({ value, cell, numeric, name }) =>
            h("td", { class: numeric && "numeric", "data-name": name }, cell ? cell(row) : (value(row) ?? "–")),
          ),
          actions && h("td", { class: "row-actions" }, actions(row, restart)),
        ),
      ),
    );
    count.textContent = rows.length
      ? `${counted(shown.length, "row")}${cursor ? "; there are more" : ""}`
      : cursor
        ? "Nothing found so far; there is more to search."
        : empty;
    more.hidden = !cursor;
    scroller.hidden = !rows.length;
  }
  async function exportCsv() {
    let isStopped = false;
    const stop = h("button", { type: "button", onclick: () => (isStopped = true) }, "Stop");
    reading.replaceChildren(h("progress", { "aria-label": `Export of ${title}` }), stop);
    const onPage = (loaded) => {
      count.textContent = `${counted(loaded, "row")} read…`;
      return !isStopped && element.isConnected;
    };
    try {
      const items = await all(listPath(), chosen(), MOST_ROWS, onPage);
      if (element.isConnected) saveCsv(items); // else the page was left
    } finally {
      reading.replaceChildren();
      show();
    }
  }
  function saveCsv(items) {
    const lines = [
      columns.map(({ name }) => name),
      ...items.map((row) => columns.map(({ value }) => value(row) ?? "")),
    ];
    download(
      `${title.toLowerCase().replaceAll(" ", "-")}.csv`,
      "text/csv",
      lines.map((line) => line.map(csvCell).join(",")).join("\r\n"),
    );
    const rest = items.isCut ? "; there are more: narrow the filters for the others" : ", all there are";
    notify(`The file has ${counted(items.length, "row")}${rest}.`);
  }
  const scroller = h(
    "div",
    { class: "scroller", tabindex: 0, role: "region", "aria-label": title },
    h(
      "table",
      {},
      h("caption", { class: "visually-hidden" }, title),
      h(
        "thead",
        {},
        h("tr", {}, head, actions && h("th", { scope: "col" }, h("span", { class: "visually-hidden" }, "Actions"))),
      ),
      body,
    ),
  );
  const reading = h("div", { class: "reading" });
  const element = h("div", { class: "stack" }, bar, reading, scroller, h("p", { class: "actions" }, more), count);
  return load().then(() => Object.assign(element, { restart }));
}

const compare = (a, b) =>
  typeof a === "number" && typeof b === "number"
    ? a - b
    : String(a ?? "").localeCompare(String(b ?? ""), undefined, { numeric: true });
// Text that a spreadsheet would run as a formula gets an apostrophe, as in the API's own CSV files.
export function csvCell(value) {
  const text = typeof value === "string" && /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
