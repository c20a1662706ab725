// API keys of programs: which there are, a new one whose token is shown once, and the end of one.
import { api, can, newKey } from "./api.js";
import { change } from "./dialog.js";
import { button, copyButton, facts, h, status, time } from "./dom.js";
import { check, input, optional } from "./form.js";
import { table } from "./table.js";

const SCOPES = {
  admin: "everything, also operators and API keys",
  billing: "plans, invoices, refunds, reports",
  catalog: "titles, imports, home rows",
  support: "accounts, and viewing as them",
  playback: "live streams, usage, access decisions",
  frontend: "nothing of its own: it vouches for the addresses of your front end's viewers",
};
const described = (scope) => [h("strong", {}, scope), `: ${SCOPES[scope]}`];
const WEEK_MS = 7 * 86_400_000;

function state({ revoked_at, expires_at }) {
  if (revoked_at) return "revoked";
  return expires_at && Date.parse(expires_at) <= Date.now() ? "expired" : "active";
}

export async function apiKeys() {
  const mayWrite = can("admin", true);
  const list = await table({
    title: "API keys",
    path: "/admin/api-keys",
    empty: "No API key yet.",
    columns: [
      { name: "Name", value: (row) => row.name },
      { name: "Scopes", value: (row) => row.scopes.join(", ") },
      { name: "State", value: state, cell: (row) => status(state(row)) },
      { name: "Created", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
      { name: "Last used", value: (row) => row.last_used_at, cell: (row) => time(row.last_used_at) ?? "never" },
      { name: "Expires", value: (row) => row.expires_at, cell: (row) => time(row.expires_at) ?? "never" },
      { name: "Id", value: (row) => row.id },
    ],
    actions: (row, restart) =>
      mayWrite &&
      state(row) !== "revoked" &&
      button("Revoke", () => revoke(row, restart), { class: "danger", "aria-label": `Revoke ${row.name}` }),
  });
  return [
    mayWrite && [
      h(
        "p",
        { class: "actions" },
        button("New API key", () => create(list.restart)),
      ),
      h(
        "p",
        { class: "muted" },
        "To replace a key, create the new one, switch the program over, then revoke the old one.",
      ),
    ],
    list,
  ];
}

function create(done) {
  const chosen = (values) => Object.keys(SCOPES).filter((scope) => values[scope]);
  const body = ({ name, expires_at, ...values }) => ({
    name,
    scopes: chosen(values),
    expires_at: expires_at ? `${expires_at}:00Z` : null,
  });
  let attempt; // a repeated confirmation returns the key of the first, if its response was lost
  change({
    title: "New API key",
    verb: "Create",
    done,
    explain:
      "For a program. It needs no second factor, so give each program its own key with as few scopes as it needs.",
    fields: [
      input("Name", "name", { maxlength: 100, hint: "What uses it, such as nightly export." }),
      h(
        "fieldset",
        { class: "stack" },
        h("legend", {}, "Scopes"),
        Object.keys(SCOPES).map((scope) => check(h("span", {}, described(scope)), scope)),
      ),
      optional("Expires", "expires_at", { type: "datetime-local", hint: "UTC. Empty: never." }),
    ],
    preview: (values) => {
      const { name, scopes, expires_at } = body(values);
      if (!scopes.length) throw new Error("Choose at least one scope.");
      attempt = newKey();
      return [
        h("p", {}, `Whoever has the token of ${name} may use:`),
        h(
          "ul",
          {},
          scopes.map((scope) => h("li", {}, described(scope))),
        ),
        h("p", {}, expires_at ? ["Until ", time(expires_at), "."] : "Until it is revoked: it does not expire."),
      ];
    },
    run: async (values) => {
      const { name, token } = await api("POST", "/admin/api-keys", body(values), { key: attempt });
      return [
        h("p", {}, `${name} is created. Its token, shown only now:`),
        h("code", { class: "wrap" }, token),
        h("p", { class: "actions" }, copyButton(token)),
      ];
    },
  });
}

function revoke(row, done) {
  const inUse = row.last_used_at && Date.now() - Date.parse(row.last_used_at) < WEEK_MS;
  change({
    title: `Revoke ${row.name}`,
    verb: "Revoke",
    danger: true,
    done,
    explain: "A revoked key never works again.",
    preview: () => [
      facts([
        ["Scopes", row.scopes.join(", ")],
        ["Created", time(row.created_at)],
        ["Last used", time(row.last_used_at) ?? "never"],
      ]),
      inUse && h("p", { class: "error" }, "It was used within a week: a program may still need it."),
      h(
        "p",
        {},
        "Its next request is refused with 401. Sessions that it started to view as an account end. What it changed stays.",
      ),
    ],
    run: async () => {
      await api("DELETE", `/admin/api-keys/${row.id}`);
      return `${row.name} is revoked.`;
    },
  });
}
