// The figures of the day, and plots over days and months.
import { can, get, query } from "./api.js";
import { badge, counted, day, h, link, money, notify, number, panel, words } from "./dom.js";
import { select } from "./form.js";
import { bars } from "./plot.js";

const tile = (name, value, note, to) =>
  h(
    "div",
    { class: "tile" },
    h("dt", {}, name),
    h("dd", {}, to ? link(to, value) : value, note && h("small", { class: "muted" }, note)),
  );
const STORES = ["app_store", "play_store"];
const daysAgo = (count) => new Date(Date.now() - count * 86_400_000).toISOString().slice(0, 10);

const MONTH = new Intl.DateTimeFormat(undefined, { month: "long", year: "numeric", timeZone: "UTC" });
const periodName = (period) => (period.length === 7 ? MONTH.format(Date.parse(`${period}-01T00:00Z`)) : day(period));

export default async function today() {
  const figures = await get("/admin/overview");
  return [
    h("h1", {}, "Today"),
    h("dl", { class: "tiles" }, tiles(figures)),
    attention(figures),
    can("billing") && (await revenue(figures)),
    (figures.sign_ups || figures.payments || can("playback")) && (await activity(figures)),
  ];
}

function tiles({ subscriptions, subscriptions_by_source, payments, sign_ups, live_streams, jobs, webhooks }) {
  const subscribed = (name, status) =>
    tile(name, number(subscriptions[status] ?? 0), bySource(subscriptions_by_source, status));
  const atLeast = (part) => (part.is_complete ? "in 30 days" : "at least, in 30 days");
  const due = jobs?.lanes.reduce((sum, lane) => sum + lane.due, 0),
    failed = jobs && Object.values(jobs.failed).reduce((sum, value) => sum + value, 0);
  return [
    subscriptions && [
      subscribed("Active", "active"),
      subscribed("Trialing", "trialing"),
      subscribed("Past due", "past_due"),
    ],
    sign_ups && tile("Sign-ups", number(sign_ups.total), atLeast(sign_ups), "#/viewers"),
    payments && tile("Failed payments", number(payments.failed), `of ${number(payments.total)} ${atLeast(payments)}`),
    live_streams != null && tile("Live streams", number(live_streams), "now", "#/running/streams"),
    jobs && [
      tile("Jobs due", number(due), jobs.lanes.some(({ is_late }) => is_late) ? "some are late" : "none is late"),
      tile("Failed jobs", number(failed), "wait for a decision", "#/running/jobs"),
    ],
    webhooks &&
      tile(
        "Webhooks given up",
        number(webhooks.given_up),
        `${counted(webhooks.endpoints, "endpoint")}, ${number(webhooks.disabled)} disabled`,
        "#/running/webhooks",
      ),
  ].flat();
}

// "stripe 10 · app store 5", if an app store has any.
function bySource(counts, status) {
  const sources = Object.keys(counts).filter((source) => counts[source][status]);
  return sources.some((source) => STORES.includes(source))
    ? sources.map((source) => `${words(source)} ${number(counts[source][status])}`).join(" · ")
    : null;
}

function attention({ jobs, webhooks, subscriptions_by_source }) {
  const past_due = Object.entries(subscriptions_by_source ?? {})
    .filter(([source]) => !STORES.includes(source)) // a store collects by itself
    .reduce((sum, [, statuses]) => sum + (statuses.past_due ?? 0), 0);
  const lines = [
    ...(jobs?.lanes ?? [])
      .filter(({ is_late }) => is_late)
      .map(({ lane, due }) => [
        `${counted(due, "job")} of the lane ${lane} ${due === 1 ? "is" : "are"} late. Is the worker running?`,
        "#/running",
      ]),
    ...Object.entries(jobs?.failed ?? {}).map(([kind, count]) => [
      `${counted(count, "job")} failed for good: ${words(kind)}.`,
      "#/running/jobs",
    ]),
    webhooks?.given_up
      ? [
          `${counted(webhooks.given_up, "webhook delivery was", "webhook deliveries were")} given up.`,
          "#/running/webhooks",
        ]
      : null,
    past_due ? [`${counted(past_due, "subscription is", "subscriptions are")} past due.`, "#/money/invoices"] : null,
  ].filter(Boolean);
  return lines.length
    ? panel(
        "Needs attention",
        h(
          "ul",
          { class: "attention" },
          lines.map(([text, to]) => h("li", {}, badge("!", "warn"), " ", link(to, text))),
        ),
      )
    : null;
}

async function revenue({ subscriptions_by_source }) {
  const hasStores = STORES.some((source) => subscriptions_by_source?.[source]);
  const box = h("div", { class: "stack" });
  const periods = [
    ["month", "The last twelve months"],
    ["day", "The last 30 days"],
  ];
  async function load(interval) {
    const report = await get(
      `/admin/reports/revenue${query({ interval, from: interval === "day" ? daysAgo(29) : null })}`,
    );
    const currencies = [...new Set(report.mrr.map((row) => row.currency))];
    box.replaceChildren(
      ...currencies.flatMap((currency) => {
        const rows = report.mrr.filter((row) => row.currency === currency),
          last = rows.at(-1),
          amount = (minor) => money(minor, currency);
        const plot = (title, member) =>
          bars(
            title,
            rows.map((row) => ({ label: row.period, value: row[member] })),
            amount,
          );
        const moved = ["new", "expansion", "contraction", "churn", "reactivation"];
        return [
          h("h3", {}, `MRR ${amount(last.closing_minor)}`),
          h(
            "p",
            { class: "muted" },
            `${periodName(last.period)}: ${moved.map((name) => `${name} ${amount(last[`${name}_minor`])}`).join(" · ")}`,
          ),
          h(
            "div",
            { class: "columns wide" },
            plot("MRR", "closing_minor"),
            bars(
              "Net movement",
              rows.map((row) => ({ label: row.period, value: row.closing_minor - row.opening_minor })),
              amount,
            ),
          ),
          h(
            "div",
            { class: "columns wide" },
            shares("Revenue by plan", report.by_plan, "plan", currency),
            shares("Revenue by country", report.by_country, "country", currency),
          ),
        ];
      }),
    );
    if (!currencies.length) box.replaceChildren(h("p", { class: "muted" }, "No revenue yet."));
  }
  const choice = select("Period", "interval", periods, {
    onchange: (event) => load(event.target.value).catch((error) => notify(error.message)),
  });
  await load("month");
  return panel(
    "Revenue",
    choice,
    hasStores && h("p", { class: "muted" }, "What app stores bill is in none of these figures."),
    box,
  );
}

function shares(title, rows, member, currency) {
  const sums = new Map();
  for (const row of rows.filter((row) => row.currency === currency))
    sums.set(row[member] ?? "none", (sums.get(row[member] ?? "none") ?? 0) + row.revenue_minor);
  const ordered = [...sums].sort((a, b) => b[1] - a[1]).slice(0, 12);
  return bars(
    title,
    ordered.map(([label, value]) => ({ label, value: value })),
    (value) => money(value, currency),
  );
}

async function activity({ sign_ups, payments }) {
  const usage = can("playback") && (await get("/admin/reports/usage"));
  const byDay = (days) => days.map(({ day, count }) => ({ label: day, value: count }));
  return panel(
    "The last 30 days",
    h(
      "div",
      { class: "columns wide" },
      sign_ups && bars("Sign-ups", byDay(sign_ups.days), number),
      payments && bars("Failed payments", byDay(payments.days), number),
      usage &&
        bars(
          "Plays",
          usage.days.map(({ day, starts }) => ({ label: day, value: starts })),
          number,
        ),
      usage &&
        bars(
          "Minutes played",
          usage.days.map(({ day, minutes }) => ({ label: day, value: minutes })),
          number,
        ),
    ),
    usage &&
      usage.titles.length && [
        h("h3", {}, "Most watched"),
        h(
          "ol",
          {},
          usage.titles
            .slice(0, 10)
            .map(({ title, starts, minutes }) =>
              h("li", {}, `${title ?? "a removed title"}: ${counted(starts, "play")}, ${counted(minutes, "minute")}`),
            ),
        ),
      ],
  );
}
