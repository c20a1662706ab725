// Running the service: jobs, webhooks, audit log, health, settings, live streams, usage, operators, API keys.
import { apiKeys } from "./api-keys.js";
import { api, can, get, query } from "./api.js";
import { change } from "./dialog.js";
import {
  badge,
  button,
  copyButton,
  counted,
  facts,
  h,
  link,
  notify,
  number,
  panel,
  sentence,
  status,
  time,
  words,
} from "./dom.js";
import { check, form, input, optional, select } from "./form.js";
import { table } from "./table.js";

const PARTS = {
  health: ["Health", health, "playback"],
  jobs: ["Failed jobs", jobs, "admin"],
  webhooks: ["Webhooks", webhooks, "admin"],
  audit: ["Audit log", audit, "admin"],
  streams: ["Live streams", streams, "playback"],
  usage: ["Usage", usage, "playback"],
  operators: ["Operators", operators, "admin"],
  keys: ["API keys", apiKeys, "admin"],
  settings: ["Settings", settings, "admin"],
};
const reason = () => input("Reason", "reason", { maxlength: 200, hint: "It is recorded in the audit log." });
const LANES = [["", "Any lane"], ...["default", "interactive", "webhooks", "bulk"].map((lane) => [lane, lane])];

export default async function running({ rest: [part = "health"], show }) {
  const open = Object.entries(PARTS).filter(([, [, , scope]]) => can(scope));
  const [key, [name, load]] = open.find(([key]) => key === part) ?? open[0];
  return [
    h("h1", {}, "Running it"),
    h(
      "nav",
      { class: "tabs", "aria-label": "Parts" },
      open.map(([to, [text]]) => link(`#/running/${to}`, text, { "aria-current": to === key && "page" })),
    ),
    panel(name, await load(show)),
  ];
}

async function health(show) {
  const response = await fetch("readyz"),
    { status: state, checks, detail } = await response.json();
  const overview = await get("/admin/overview");
  const lanes = overview.jobs?.lanes ?? [];
  return [
    h(
      "p",
      {},
      badge(response.ok ? state : "not ready", state === "ok" ? "good" : response.ok ? "warn" : "bad"),
      detail && ` ${detail}`,
    ),
    h(
      "ul",
      { class: "plain" },
      Object.entries(checks).map(([name, passed]) =>
        h("li", {}, badge(passed ? "passed" : "failed", passed ? "good" : "bad"), ` ${sentence(name)}`),
      ),
    ),
    overview.jobs && h("h3", {}, "Jobs that are due"),
    overview.jobs &&
      (lanes.length
        ? h(
            "ul",
            { class: "plain" },
            lanes.map(({ lane, due, oldest, is_late }) =>
              h(
                "li",
                {},
                badge(is_late ? "late" : "in time", is_late ? "bad" : "good"),
                ` ${lane}: ${number(due)}, the oldest since `,
                time(oldest),
              ),
            ),
          )
        : h("p", { class: "muted" }, "None.")),
    button("Check again", show),
  ];
}

async function jobs() {
  const list = await table({
    title: "Failed jobs",
    path: "/admin/failed-jobs",
    empty: "No job has failed.",
    filters: [optional("Kind", "kind", { maxlength: 100 }), select("Lane", "lane", LANES)],
    columns: [
      { name: "Kind", value: (row) => row.kind },
      { name: "Lane", value: (row) => row.lane },
      { name: "Attempts", value: (row) => row.attempts, numeric: true },
      { name: "Failed", value: (row) => row.failed_at, cell: (row) => time(row.failed_at) },
      { name: "Error", value: (row) => row.last_error },
      {
        name: "Payload",
        value: (row) => JSON.stringify(row.payload),
        cell: (row) => h("code", { class: "wrap" }, JSON.stringify(row.payload)),
      },
    ],
    actions: (row, restart) =>
      can("admin", true) && [
        button("Retry", () =>
          change({
            title: "Retry the job",
            verb: "Retry",
            explain: `${row.kind} runs again at once, with all its attempts.`,
            done: restart,
            run: async () => {
              await api("POST", `/admin/failed-jobs/${row.id}/retry`);
              return "The job is queued again.";
            },
          }),
        ),
        button(
          "Discard",
          () =>
            change({
              title: "Discard the job",
              verb: "Discard",
              danger: true,
              explain: `${row.kind} is deleted and never runs.`,
              done: restart,
              run: async () => {
                await api("DELETE", `/admin/failed-jobs/${row.id}`);
                return "The job is discarded.";
              },
            }),
          { class: "danger" },
        ),
      ],
  });
  return [
    can("admin", true) &&
      h(
        "p",
        { class: "actions" },
        ["retries", "discards"].map((act) =>
          button(act === "retries" ? "Retry many" : "Discard many", () => changeMany(act, list)),
        ),
      ),
    list,
  ];
}

function changeMany(act, list) {
  const verb = act === "retries" ? "Retry" : "Discard";
  const body = ({ kind, lane, reason }, dry_run) => ({ kind: kind || null, lane: lane || null, reason, dry_run });
  change({
    title: `${verb} many jobs`,
    verb,
    danger: verb === "Discard",
    done: list.restart,
    explain: "The oldest 1,000 that match; without a kind and a lane, all match.",
    fields: [optional("Kind", "kind", { maxlength: 100 }), select("Lane", "lane", LANES), reason()],
    preview: async (values) => {
      const { jobs, remaining } = await api("POST", `/admin/job-${act}`, body(values, true));
      return h(
        "p",
        {},
        `${counted(jobs, "job matches", "jobs match")} and will be changed; ${counted(remaining, "remains", "remain")} for another time.`,
      );
    },
    run: async (values) => {
      const { jobs, remaining } = await api("POST", `/admin/job-${act}`, body(values, false));
      return `${counted(jobs, "job is", "jobs are")} ${act === "retries" ? "queued again" : "discarded"}; ${counted(remaining, "remains", "remain")}.`;
    },
  });
}

async function webhooks() {
  const mayWrite = can("admin", true);
  const endpoints = await table({
    title: "Endpoints",
    path: "/admin/webhook-endpoints",
    empty: "No endpoint yet.",
    columns: [
      { name: "URL", value: (row) => row.url },
      { name: "Events", value: (row) => row.kinds?.join(", ") ?? "all" },
      {
        name: "State",
        value: (row) => (row.disabled_at ? "disabled" : "active"),
        cell: (row) => status(row.disabled_at ? "disabled" : "active"),
      },
      { name: "Since", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
    ],
    actions: (row, restart) =>
      mayWrite &&
      button(
        "Delete",
        () =>
          change({
            title: "Delete the endpoint",
            verb: "Delete",
            danger: true,
            explain: `${row.url} gets no further event.`,
            done: restart,
            run: async () => {
              await api("DELETE", `/admin/webhook-endpoints/${row.id}`);
              return "The endpoint is deleted.";
            },
          }),
        { class: "danger" },
      ),
  });
  const deliveries = await table({
    title: "Deliveries",
    path: "/admin/webhook-deliveries",
    empty: "Nothing was delivered yet.",
    filters: [
      select("State", "status", [["", "Any"], ...["pending", "delivered", "failed"].map((state) => [state, state])]),
    ],
    columns: [
      { name: "Event", value: (row) => row.event_id },
      { name: "State", value: (row) => row.status, cell: (row) => status(row.status) },
      { name: "Attempts", value: (row) => row.attempts, numeric: true },
      { name: "Response", value: (row) => row.response_status ?? row.error },
      { name: "Created", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
    ],
    actions: (row, restart) =>
      mayWrite &&
      button("Redeliver", async () => {
        await api("POST", `/admin/webhook-deliveries/${row.id}/redelivery`);
        await restart();
        notify("The event is queued for delivery.");
      }),
  });
  const add = () =>
    change({
      title: "Add an endpoint",
      verb: "Add",
      done: endpoints.restart,
      explain: "It gets every event from now on, signed with a secret that is shown once.",
      fields: [input("URL", "url", { type: "url", placeholder: "https://" })],
      run: async ({ url }) => {
        const { secret } = await api("POST", "/admin/webhook-endpoints", { url });
        return [
          h("p", {}, "The endpoint is added. Its signing secret, shown only now:"),
          h("code", { class: "wrap" }, secret),
          h("p", { class: "actions" }, copyButton(secret)),
        ];
      },
    });
  const redeliver = () =>
    change({
      title: "Redeliver failed deliveries",
      verb: "Redeliver",
      done: deliveries.restart,
      explain: "The oldest 200 deliveries that were given up are tried again.",
      preview: async () => {
        const { deliveries: due } = await api("POST", "/admin/webhook-redeliveries", { dry_run: true });
        return h("p", {}, `${counted(due, "delivery", "deliveries")} will be tried again.`);
      },
      run: async () => {
        const { deliveries: due } = await api("POST", "/admin/webhook-redeliveries", {});
        return `${counted(due, "delivery is", "deliveries are")} queued.`;
      },
    });
  return [
    mayWrite &&
      h("p", { class: "actions" }, button("Add an endpoint", add), button("Redeliver all given up", redeliver)),
    h("h3", {}, "Endpoints"),
    endpoints,
    h("h3", {}, "Deliveries"),
    deliveries,
  ];
}

async function audit() {
  const chain = h("p", { role: "status" });
  const verify = button("Check the chain", async () => {
    const { rows, first_break, head } = await get("/admin/audit/chain");
    chain.replaceChildren(
      badge(first_break === null ? "intact" : "broken", first_break === null ? "good" : "bad"),
      first_break === null ? ` ${number(rows)} entries; the head is ` : ` at entry ${first_break}; the head is `,
      h("code", { class: "wrap" }, head),
    );
  });
  const entries = await table({
    title: "Audit log",
    path: "/admin/audit",
    filters: [
      optional("Action", "action", { maxlength: 64 }),
      optional("Account", "account_id", { maxlength: 64 }),
      optional("Object's id", "object_id", { maxlength: 300 }),
    ],
    columns: [
      { name: "Entry", value: (row) => row.seq, numeric: true },
      { name: "At", value: (row) => row.at, cell: (row) => time(row.at) },
      { name: "Action", value: (row) => row.action, cell: (row) => words(row.action) },
      { name: "By", value: (row) => row.actor },
      {
        name: "About",
        value: (row) => [row.account_id, row.object_type, row.object_id].filter(Boolean).join(" "),
        cell: (row) => [
          row.account_id && [link(`#/viewer/${row.account_id}`, row.account_id), " "],
          row.object_type && `${words(row.object_type)} `,
          row.object_id !== row.account_id && row.object_id,
        ],
      },
      {
        name: "Details",
        value: (row) => JSON.stringify(row.details),
        cell: (row) => h("details", {}, h("summary", {}, "Show"), h("pre", {}, JSON.stringify(row.details, null, 1))),
      },
    ],
  });
  return [h("p", { class: "actions" }, verify), chain, entries];
}

function streams() {
  return table({
    title: "Live streams",
    path: "/admin/streams",
    empty: "Nothing is playing.",
    columns: [
      {
        name: "Viewer",
        value: (row) => row.account_id,
        cell: (row) => (can("support") ? link(`#/viewer/${row.account_id}/devices`, row.account_id) : row.account_id),
      },
      { name: "Device", value: (row) => row.device.name },
      { name: "State", value: (row) => row.state },
      { name: "Country", value: (row) => row.country },
      { name: "Since", value: (row) => row.started_at, cell: (row) => time(row.started_at) },
    ],
    actions: (row, restart) =>
      can("playback", true) &&
      button("Stop", async () => {
        await api("DELETE", `/admin/streams/${row.stream_id}`);
        await restart();
        notify("The stream is stopped.");
      }),
  });
}

async function usage() {
  const result = h("div", { class: "stack" });
  const load = async ({ from, to, group_by }) => {
    const report = await get(`/admin/reports/usage${query({ from, to, group_by })}`);
    const rows = report.groups ?? report.titles;
    const isNumeric = (name) => typeof rows[0][name] === "number";
    const names = Object.keys(rows[0] ?? {})
      .filter((name) => name !== "title_id")
      .sort((a, b) => isNumeric(a) - isNumeric(b)); // what a row is about comes first
    result.replaceChildren(
      facts(Object.entries(report.total).map(([name, value]) => [sentence(name), number(value)])),
      rows.length
        ? h(
            "div",
            { class: "scroller", tabindex: 0, role: "region", "aria-label": "Usage" },
            h(
              "table",
              {},
              h("caption", { class: "visually-hidden" }, "Usage"),
              h(
                "thead",
                {},
                h(
                  "tr",
                  {},
                  names.map((name) => h("th", { scope: "col", class: isNumeric(name) && "numeric" }, sentence(name))),
                ),
              ),
              h(
                "tbody",
                {},
                rows.map((row) =>
                  h(
                    "tr",
                    {},
                    names.map((name) =>
                      h(
                        "td",
                        { class: isNumeric(name) && "numeric", "data-name": sentence(name) },
                        isNumeric(name) ? number(row[name]) : (row[name] ?? "–"),
                      ),
                    ),
                  ),
                ),
              ),
            ),
          )
        : h("p", { class: "muted" }, "Nothing was played."),
    );
  };
  const ask = form(
    "Show",
    load,
    [
      input("From", "from", { type: "date", required: false }),
      input("Before", "to", { type: "date", required: false }),
      select("By", "group_by", [
        ["", "title"],
        ["plan", "plan"],
        ["country", "country"],
        ["device_kind", "device"],
      ]),
    ],
    { inline: true },
  );
  await load({});
  return [ask, result];
}

async function operators() {
  const ROLES = ["admin", "support", "billing", "catalog", "auditor"].map((role) => [role, role]);
  const list = await table({
    title: "Operators",
    path: "/admin/operators",
    columns: [
      { name: "Email", value: (row) => row.email },
      { name: "Name", value: (row) => row.name },
      { name: "Role", value: (row) => row.role },
      {
        name: "State",
        value: (row) => row.status,
        cell: (row) => [status(row.status), !row.enrolled && " ", !row.enrolled && badge("invited")],
      },
      { name: "Since", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
    ],
    actions: (row, restart) =>
      can("admin", true) && [
        button("Change", () =>
          change({
            title: `Change ${row.email}`,
            verb: "Change",
            done: restart,
            explain: "It takes effect with their next request.",
            fields: [
              select("Role", "role", ROLES, { value: row.role }),
              select(
                "State",
                "status",
                [
                  ["active", "active"],
                  ["disabled", "disabled"],
                ],
                { value: row.status },
              ),
            ],
            run: async (values) => {
              const done = await api("PATCH", `/admin/operators/${row.id}`, values);
              return `${done.email} is ${done.status}, as ${done.role}.`;
            },
          }),
        ),
        button("Reset", () =>
          change({
            title: `Reset ${row.email}`,
            verb: "Reset",
            danger: true,
            done: restart,
            explain: "Password and authenticator stop working at once, and a new invitation is emailed.",
            run: async () => {
              await api("POST", `/admin/operators/${row.id}/reset`);
              return `${row.email} has a new invitation.`;
            },
          }),
        ),
      ],
  });
  const invite = () =>
    change({
      title: "Invite an operator",
      verb: "Invite",
      done: list.restart,
      explain: "They get a link, valid for a day, and choose their own password and authenticator.",
      fields: [
        input("Email", "email", { type: "email" }),
        input("Name", "name", { maxlength: 100 }),
        select("Role", "role", ROLES, { value: "support" }),
      ],
      run: async (values) => {
        const { email } = await api("POST", "/admin/operators", values);
        return `The invitation is on its way to ${email}.`;
      },
    });
  return [can("admin", true) && h("p", { class: "actions" }, button("Invite an operator", invite)), list];
}

// Text with `code` between backticks.
const marked = (text) => text.split("`").map((part, index) => (index % 2 ? h("code", {}, part) : part));

async function settings() {
  const { items } = await get("/admin/settings");
  const list = h("tbody"),
    onlySet = check("Only those with a value", "set", { onchange: () => draw() });
  const find = input("Filter", "filter", { type: "search", required: false, oninput: () => draw() });
  function draw() {
    const wanted = find.querySelector("input").value.toLowerCase(),
      isSet = onlySet.querySelector("input").checked;
    list.replaceChildren(
      ...items
        .filter(
          ({ name, value, description }) =>
            (!isSet || value) && `${name} ${description}`.toLowerCase().includes(wanted),
        )
        .map(({ name, value, description }) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h("code", {}, name), h("div", { class: "muted" }, marked(description))),
            h("td", {}, h("code", { class: "wrap" }, value || "–")),
          ),
        ),
    );
  }
  draw();
  return [
    h(
      "p",
      { class: "muted" },
      "Settings of the process that responded. Secrets are masked. To change a setting, change the environment and restart the service.",
    ),
    h("div", { class: "inline" }, find, onlySet),
    h(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": "Settings" },
      h("table", {}, h("caption", { class: "visually-hidden" }, "Settings"), list),
    ),
  ];
}
