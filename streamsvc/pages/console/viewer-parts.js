// What a viewer's page shows below their account: timeline, invoices, sessions and streams, why a title does not play.
import { api, can, get, query } from "./api.js";
import { change } from "./dialog.js";
import { badge, button, facts, h, minutes, money, notify, sentence, status, time, words } from "./dom.js";
import { form, input, optional, select } from "./form.js";
import { table } from "./table.js";
import { refund } from "./viewer-actions.js";

const KINDS = {
  audit: "Audit",
  sign_in: "Sign-ins",
  device: "Devices",
  play: "Plays",
  mail: "Mails with a link",
  invoice: "Invoices",
  payment: "Payments",
  credit_note: "Credit notes",
  event: "Events",
};

const UNINTERESTING = ["salt", "request_id", "client", "call"]; // in the audit log they are

export async function timeline(account) {
  const list = h("ol", { class: "timeline" });
  let cursor = null,
    kind = "";
  const more = button("Show more", () => load());
  const choice = select("Show", "kind", [["", "Everything"], ...Object.entries(KINDS)], {
    onchange: (event) => {
      kind = event.target.value;
      cursor = null;
      list.replaceChildren();
      load().catch((error) => notify(error.message));
    },
  });
  async function load() {
    const page = await get(`/admin/accounts/${account.id}/timeline${query({ limit: 30, kind, cursor })}`);
    list.append(...page.items.map(entry));
    if (!list.children.length) list.append(h("li", {}, "Nothing is recorded."));
    cursor = page.next_cursor;
    more.hidden = !cursor;
  }
  await load();
  return [choice, list, h("p", { class: "actions" }, more)];
}

function entry({ kind, at, what, actor, details }) {
  const { old, new: changed, object, ...rest } = details;
  const values = Object.entries(rest).filter(
    ([name, value]) => value !== null && typeof value !== "object" && !UNINTERESTING.includes(name),
  );
  return h(
    "li",
    {},
    h(
      "div",
      { class: "entry" },
      badge(KINDS[kind].replace(/s\b/, "")),
      h("strong", {}, sentence(what)),
      actor && h("span", { class: "muted" }, "by ", h("code", {}, actor)),
      time(at),
    ),
    h(
      "div",
      { class: "muted" },
      values.map(([name, value]) => `${label(name)}: ${shown(name, value, rest)}`).join(" · "),
    ),
    (old || changed) && h("details", {}, h("summary", {}, "What changed"), difference(old ?? {}, changed ?? {})),
  );
}
function shown(name, value, { currency }) {
  if (name.endsWith("_minor") && currency) return money(value, currency);
  if (name === "watched_s") return minutes(value);
  return name.endsWith("_at") ? new Date(value).toLocaleString() : String(value);
}
const label = (name) => words(name.replace(/_(minor|s|at)$/, ""));
const difference = (old, changed) =>
  h(
    "table",
    {},
    h("caption", { class: "visually-hidden" }, "What changed"),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        ["Field", "Before", "After"].map((name) => h("th", { scope: "col" }, name)),
      ),
    ),
    h(
      "tbody",
      {},
      [...new Set([...Object.keys(old), ...Object.keys(changed)])].map((name) =>
        h(
          "tr",
          {},
          h("th", { scope: "row" }, words(name)),
          [old, changed].map((side) => h("td", {}, name in side ? text(side[name]) : "–")),
        ),
      ),
    ),
  );
const text = (value) => (typeof value === "object" && value !== null ? JSON.stringify(value) : String(value));

export const invoices = (account) =>
  table({
    title: "Invoices",
    path: "/admin/invoices",
    parameters: { account_id: account.id },
    empty: "No invoice yet.",
    columns: [
      { name: "Number", value: (row) => row.number ?? "draft" },
      { name: "State", value: (row) => row.status, cell: (row) => status(row.status) },
      { name: "Issued", value: (row) => row.issued_at, cell: (row) => time(row.issued_at) ?? "–" },
      {
        name: "Total",
        value: (row) => row.total_minor,
        cell: (row) => money(row.total_minor, row.currency),
        numeric: true,
      },
      {
        name: "Paid",
        value: (row) => row.amount_paid_minor,
        cell: (row) => money(row.amount_paid_minor, row.currency),
        numeric: true,
      },
      {
        name: "Payments",
        value: (row) =>
          row.payments.map(({ status, decline_code }) => words(decline_code ?? status)).join(", ") || "none",
      },
    ],
    actions: (row, restart) => [
      can("billing", true) && refund(row, restart),
      can("billing", true) &&
        row.status === "open" &&
        button("Void", () =>
          change({
            title: `Void ${row.number}`,
            verb: "Void",
            danger: true,
            done: restart,
            explain: `${money(row.amount_due_minor, row.currency)} will not be collected, and the invoice counts as never issued.`,
            run: async () => {
              const done = await api("POST", `/admin/invoices/${row.id}/void`);
              return `${done.number} is ${done.status}.`;
            },
          }),
        ),
    ],
  });

export async function devices(account) {
  const mayWrite = can("support", true);
  const sessions = await table({
    title: "Sessions",
    path: `/admin/accounts/${account.id}/sessions`,
    empty: "Nobody is signed in.",
    columns: [
      { name: "Device", value: (row) => row.device.name },
      { name: "Kind", value: (row) => row.device.kind },
      { name: "From", value: (row) => row.city ?? row.country ?? row.address },
      { name: "Last used", value: (row) => row.last_seen_at, cell: (row) => time(row.last_seen_at) },
      {
        name: "Note",
        value: (row) => (row.impersonation ? "support" : row.impossible_travel ? "impossible travel" : ""),
        cell: (row) =>
          row.impersonation ? badge("support") : row.impossible_travel ? badge("impossible travel", "bad") : "",
      },
    ],
    actions: (row, restart) =>
      mayWrite &&
      button(
        "End",
        async () => {
          await api("DELETE", `/admin/accounts/${account.id}/sessions/${row.id}`);
          await restart();
          notify(`The session on ${row.device.name} is ended.`);
        },
        { "aria-label": `End the session on ${row.device.name}` },
      ),
  });
  const streams =
    can("playback") &&
    (await table({
      title: "Live streams",
      path: "/admin/streams",
      parameters: { account_id: account.id },
      empty: "Nothing is playing.",
      columns: [
        { name: "Device", value: (row) => row.device.name },
        { name: "State", value: (row) => row.state },
        { name: "Since", value: (row) => row.started_at, cell: (row) => time(row.started_at) },
        { name: "Country", value: (row) => row.country },
      ],
      actions: (row, restart) =>
        can("playback", true) &&
        button("Stop", async () => {
          await api("DELETE", `/admin/streams/${row.stream_id}`);
          await restart();
          notify("The stream is stopped.");
        }),
    }));
  return [h("h3", {}, "Sessions"), sessions, streams && h("h3", {}, "Live streams"), streams];
}

export async function explain(account) {
  const { items: plays } = await get(`/admin/accounts/${account.id}/plays?limit=20`);
  const recent = new Map(
    plays.map(({ item }) => [
      item.id,
      `${item.title ?? item.id}${item.season ? ` S${item.season} E${item.episode}` : ""}`,
    ]),
  );
  const result = h("div", { role: "status", class: "stack" });
  const items = h(
    "div",
    { class: "stack" },
    recent.size ? select("What they tried lately", "recent", [["", "Something else"], ...recent]) : null,
  );
  const found = h("div");
  const search =
    can("catalog") &&
    button("Find", async () => {
      const { items: titles } = await get(
        `/admin/titles${query({ q: items.querySelector("[name=title]").value, limit: 20 })}`,
      );
      found.replaceChildren(
        titles.length
          ? select(
              "Titles with that name",
              "found",
              titles.map(({ id, title, year }) => [id, `${title}${year ? ` (${year})` : ""}`]),
            )
          : h("p", {}, "No title has that name."),
      );
    });
  items.append(
    optional(search ? "Name or id of a title" : "Id of a title or episode", "title", { maxlength: 200 }),
    search ? h("p", { class: "actions" }, search) : "",
    found,
  );
  const ask = form(
    "Explain",
    async (values) => {
      const item_id = values.recent || values.found || values.title;
      if (!item_id) throw new Error("Choose a title.");
      const answer = await api("POST", "/admin/explain", {
        account_id: account.id,
        item_id,
        country: values.country.toUpperCase() || null,
        device_kind: values.device_kind || null,
      });
      result.replaceChildren(...explanation(answer));
    },
    [
      items,
      h(
        "div",
        { class: "columns" },
        input("Country", "country", {
          required: false,
          maxlength: 2,
          pattern: "[A-Za-z]{2}",
          hint: `Empty: ${account.country}, the account's.`,
        }),
        select("Device", "device_kind", [
          ["", "Any"],
          ...["web", "phone", "tablet", "tv", "console", "other"].map((kind) => [kind, kind]),
        ]),
      ),
    ],
  );
  return [ask, result];
}
function explanation({ allowed, code, facts: known, checks }) {
  return [
    h(
      "p",
      {},
      badge(allowed ? "It plays" : "It does not play", allowed ? "good" : "bad"),
      code && ` ${sentence(code)}`,
    ),
    h(
      "ol",
      { class: "checks" },
      checks.map(({ check, passed, detail }) =>
        h(
          "li",
          { class: passed ? "passed" : "refused" },
          h("span", {}, passed ? "Passed: " : "Refused: "),
          sentence(check),
          detail && h("div", { class: "muted" }, detail),
        ),
      ),
    ),
    facts([
      ["Country", known.country ?? "unknown"],
      ["Plan", known.plan ?? "none"],
      ["Subscription", known.subscription_status ?? "none"],
      ["Profile's age limit", known.max_age ?? "none"],
      ["Title's age", known.min_age ?? "unrated"],
      ["At", time(known.at)],
    ]),
  ];
}
