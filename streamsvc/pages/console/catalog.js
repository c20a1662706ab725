// The catalogue: titles, home rows and collections in an order of one's own, imports with their report, coverage.
import { api, can, get, query } from "./api.js";
import { change } from "./dialog.js";
import { badge, button, counted, h, link, notify, number, panel, sentence, status, time, words } from "./dom.js";
import { check, form, input, optional, select } from "./form.js";
import { orderedList } from "./ordered.js";
import { table } from "./table.js";
import { editTitle } from "./title.js";

const PARTS = {
  titles: ["Titles", titles],
  home: ["Home page", home],
  collections: ["Collections", collections],
  imports: ["Imports", imports],
  coverage: ["Coverage", coverage],
};
const mayWrite = () => can("catalog", true);
const titleLink = (row, text = row.title) => link(`#/catalog/title/${encodeURIComponent(row.external_id)}`, text);

export default async function catalog({ rest: [part = "titles", id], parameters, show }) {
  if (part === "title") return editTitle(id, show);
  const key = PARTS[part] ? part : "titles";
  return [
    h("h1", {}, "Catalogue"),
    h(
      "nav",
      { class: "tabs", "aria-label": "Parts" },
      Object.entries(PARTS).map(([to, [name]]) =>
        link(`#/catalog/${to}`, name, { "aria-current": to === key && "page" }),
      ),
    ),
    panel(PARTS[key][0], await PARTS[key][1]({ id, parameters, show })),
  ];
}

async function titles({ parameters }) {
  const q = parameters.get("q") ?? "";
  const search = form(
    "Find",
    ({ q }) => {
      location.hash = `#/catalog/titles${query({ q })}`;
    },
    [
      input("Find a title", "q", {
        type: "search",
        value: q,
        required: false,
        maxlength: 200,
        hint: "Part of the name, or an id.",
      }),
    ],
    { inline: true },
  );
  const list = await table({
    title: "Titles",
    path: "/admin/titles",
    parameters: { q },
    empty: q ? "No title fits." : "The catalogue is empty. Import a file.",
    columns: [
      { name: "Title", value: (row) => row.title, cell: (row) => titleLink(row) },
      { name: "Kind", value: (row) => row.kind },
      { name: "Year", value: (row) => row.year },
      { name: "Id", value: (row) => row.external_id },
      {
        name: "Notes",
        value: (row) =>
          [
            !row.has_artwork && "no artwork",
            row.windowed && "in some countries or times",
            row.plan_limited && "in some plans",
          ]
            .filter(Boolean)
            .join(", "),
      },
      { name: "Changed", value: (row) => row.updated_at, cell: (row) => time(row.updated_at) },
    ],
  });
  return [h("div", { role: "search" }, search), list];
}

const ROW_KINDS = {
  continue: "Continue watching",
  next_up: "Next episodes",
  because: "Because you watched",
  collection: "Collection",
  new: "New",
  popular: "Popular",
};
async function home({ show }) {
  const [stored, known] = await Promise.all([get("/admin/home"), get("/admin/collections?limit=100")]);
  const name = (row) => [ROW_KINDS[row.kind], row.collection, row.title && `“${row.title}”`].filter(Boolean).join(" ");
  const { element, items, add } = orderedList(stored.items, name, "row");
  if (!mayWrite()) return [stored.items.length ? element : h("p", {}, "The home page shows the default rows.")];
  const save = button(
    "Save the order",
    async () => {
      const saved = await api(
        "PUT",
        "/admin/home",
        { items: items() },
        { headers: stored.etag ? { "If-Match": stored.etag } : {} },
      );
      notify(`The home page has ${counted(saved.items.length, "row")}.`);
      await show();
    },
    { class: "primary" },
  );
  const reset = button("Default rows", () =>
    change({
      title: "Show the default rows",
      verb: "Show them",
      explain: "The rows that you added are deleted. Collections stay.",
      done: show,
      run: async () => {
        await api("DELETE", "/admin/home");
        return "The home page shows the default rows.";
      },
    }),
  );
  const adding = form(
    "Add a row",
    ({ kind, collection, title }) =>
      add({ kind, collection: kind === "collection" ? collection : null, title: title || null, localizations: {} }),
    [
      select("Kind", "kind", Object.entries(ROW_KINDS)),
      optional("Code of the collection", "collection", {
        maxlength: 64,
        list: "codes",
        hint: "For a collection only.",
      }),
      h(
        "datalist",
        { id: "codes" },
        known.items.map(({ code, title }) => h("option", { value: code }, title)),
      ),
      optional("Title of its own", "title", { maxlength: 200, hint: "Empty: the default one." }),
    ],
    { inline: true },
  );
  return [
    h(
      "p",
      { class: "muted" },
      stored.items.length
        ? "Drag a row, or move it with its buttons."
        : "The home page shows the default rows; rows that you add replace them.",
    ),
    element,
    adding,
    h("p", { class: "actions" }, save, stored.items.length > 0 && reset),
  ];
}

async function collections({ id, show }) {
  if (id) return editCollection(id, show);
  const open = form(
    "Open",
    ({ code }) => {
      location.hash = `#/catalog/collections/${code}`;
    },
    [
      input("New collection", "code", {
        maxlength: 64,
        pattern: "[a-z0-9][a-z0-9._\\-]*",
        title: "Lower-case letters, digits, dots, hyphens and underscores",
        hint: "Its code, such as staff-picks.",
      }),
    ],
    { inline: true },
  );
  const list = await table({
    title: "Collections",
    path: "/admin/collections",
    empty: "No collection yet.",
    columns: [
      { name: "Title", value: (row) => row.title, cell: (row) => link(`#/catalog/collections/${row.code}`, row.title) },
      { name: "Code", value: (row) => row.code },
    ],
  });
  return [mayWrite() && open, list];
}

const nameOf = ({ title, year }) => `${title}${year ? ` (${year})` : ""}`;
async function editCollection(id, show) {
  const path = `/admin/collections/${id}`;
  const [stored, { items: titles }] = await Promise.all([get(path), get(`${path}/titles`)]).catch((error) => {
    if (error.status !== 404) throw error;
    return [{ title: "", localizations: {}, items: [], isNew: true }, { items: [] }];
  });
  const names = new Map(titles.map((title) => [title.external_id, nameOf(title)]));
  const { element, items, add } = orderedList(stored.items, (item) => names.get(item) ?? item, "title");
  const found = h("div");
  const addOnce = (hit) => {
    names.set(hit.external_id, nameOf(hit));
    if (items().includes(hit.external_id)) throw new Error(`${nameOf(hit)} is already in the collection.`);
    add(hit.external_id);
  };
  const search = form(
    "Find",
    async ({ q }) => {
      const { items: hits } = await get(`/admin/titles${query({ q, limit: 10 })}`);
      found.replaceChildren(
        h(
          "ul",
          { class: "rows" },
          hits.map((hit) =>
            h(
              "li",
              {},
              h("span", {}, nameOf(hit)),
              button("Add", () => addOnce(hit), { "aria-label": `Add ${nameOf(hit)}` }),
            ),
          ),
        ),
        hits.length ? "" : h("p", { class: "muted" }, "No title fits."),
      );
    },
    [input("Add a title", "q", { type: "search", maxlength: 200 })],
    { inline: true },
  );
  const title = input("Title", "title", { value: stored.title, maxlength: 200, form: "collection" });
  const save = form(
    "Save",
    async ({ title }) => {
      await api(
        "PUT",
        path,
        { title, localizations: stored.localizations ?? {}, items: items() },
        { headers: stored.etag ? { "If-Match": stored.etag } : {} },
      );
      notify(`The collection ${id} has ${counted(items().length, "title")}.`);
      await show();
    },
    [],
  );
  save.id = "collection"; // the title above is part of it
  const remove =
    !stored.isNew &&
    button(
      "Delete",
      () =>
        change({
          title: `Delete ${stored.title}`,
          verb: "Delete",
          danger: true,
          explain: "Rows of the home page that show it are deleted too. Its titles stay in the catalogue.",
          done: () => {
            location.hash = "#/catalog/collections";
          },
          run: async () => {
            await api("DELETE", path);
            return `The collection ${id} is deleted.`;
          },
        }),
      { class: "danger" },
    );
  return [
    h("p", { class: "crumbs" }, link("#/catalog/collections", "Collections")),
    h("h3", {}, stored.isNew ? `${id} (new)` : id),
    mayWrite() ? title : h("p", {}, stored.title),
    stored.items.length > 1 && h("p", { class: "muted" }, "Drag a title, or move it with its buttons."),
    element,
    mayWrite() && [search, found, save, remove && h("p", { class: "actions" }, remove)],
  ];
}

async function imports({ id }) {
  if (id) return importReport(id);
  const upload = form(
    "Import",
    async ({ dry_run, remove_missing }, element) => {
      const [file] = element.elements.file.files;
      const type = /\.csv$/i.test(file.name) ? "text/csv" : "application/x-ndjson";
      const made = await api(
        "POST",
        `/admin/imports${query({ dry_run: dry_run || null, remove_missing: remove_missing || null })}`,
        file,
        { headers: { "Content-Type": type } },
      );
      location.hash = `#/catalog/imports/${made.id}`;
    },
    [
      input("File", "file", {
        type: "file",
        hint: "NDJSON or CSV, plain or gzip; also IMDb, TMDB, playlists, NFO and XMLTV, whose format is guessed.",
      }),
      check("Only report what would happen", "dry_run", { checked: true }),
      check("Remove titles that are missing from the file", "remove_missing"),
    ],
  );
  const list = await table({
    title: "Imports",
    path: "/admin/imports",
    empty: "Nothing was imported over the API yet.",
    columns: [
      {
        name: "Started",
        value: (row) => row.created_at,
        cell: (row) => link(`#/catalog/imports/${row.id}`, time(row.created_at)),
      },
      {
        name: "State",
        value: (row) => row.status,
        cell: (row) => [status(row.status), row.dry_run && " ", row.dry_run && badge("report only")],
      },
      ...["added", "changed", "unchanged", "removed", "rejected"].map((name) => ({
        name: sentence(name),
        value: (row) => row[name],
        numeric: true,
      })),
    ],
  });
  return [mayWrite() && upload, h("h3", {}, "Imports"), list];
}

async function importReport(id) {
  const box = h("div", { class: "stack", role: "status" });
  const rejections = h("div");
  async function refresh() {
    const row = await get(`/admin/imports/${id}`);
    const isOver = ["done", "failed"].includes(row.status);
    box.replaceChildren(
      h(
        "p",
        {},
        status(row.status),
        row.dry_run && " ",
        row.dry_run && badge("report only: nothing was changed"),
        row.error && ` ${row.error}`,
      ),
      isOver ? "" : h("progress", { "aria-label": "Import" }),
      h(
        "p",
        {},
        `${counted(row.lines_done, "line")}: ${["added", "changed", "unchanged", "removed", "rejected"].map((name) => `${number(row[name])} ${name}`).join(", ")}.`,
      ),
      ...row.warnings.map((warning) => h("p", { class: "muted" }, warning.message ?? JSON.stringify(warning))),
    );
    if (!isOver && box.isConnected !== false)
      setTimeout(() => box.isConnected && refresh().catch((error) => notify(error.message)), 1000);
    if (isOver && row.rejected)
      rejections.replaceChildren(
        h("h3", {}, "Rejected lines"),
        await table({
          title: "Rejected lines",
          path: `/admin/imports/${id}/rejections`,
          columns: [
            { name: "Line", value: (line) => line.line, numeric: true },
            { name: "Title", value: (line) => line.external_id },
            { name: "Field", value: (line) => line.field },
            { name: "Reason", value: (line) => line.reason },
          ],
        }),
      );
    return isOver;
  }
  await refresh();
  setTimeout(
    () => box.isConnected && box.querySelector("progress") && refresh().catch((error) => notify(error.message)),
    1000,
  );
  return [h("p", { class: "crumbs" }, link("#/catalog/imports", "Imports")), box, rejections];
}

async function coverage({ id }) {
  if (id) {
    const list = await table({
      title: sentence(id),
      path: `/admin/coverage/${id}`,
      empty: "No title has this gap.",
      columns: [
        { name: "Title", value: (row) => row.title, cell: (row) => titleLink(row) },
        { name: "Year", value: (row) => row.year },
        {
          name: "Part",
          value: (row) =>
            row.part &&
            [row.part.season && `S${row.part.season}`, row.part.number && `E${row.part.number}`, row.part.title]
              .filter(Boolean)
              .join(" "),
        },
      ],
    });
    return [h("p", { class: "crumbs" }, link("#/catalog/coverage", "Coverage")), h("h3", {}, sentence(id)), list];
  }
  const { total, issues } = await get("/admin/coverage");
  return [
    h("p", {}, `${counted(total, "title")}.`),
    h(
      "ul",
      { class: "rows" },
      issues.map(({ code, count }) =>
        h(
          "li",
          {},
          h("span", {}, sentence(code)),
          badge(number(count), count ? "warn" : "good"),
          count
            ? link(`#/catalog/coverage/${code}`, [
                "Show titles",
                h("span", { class: "visually-hidden" }, `: ${words(code)}`),
              ])
            : null,
        ),
      ),
    ),
  ];
}
