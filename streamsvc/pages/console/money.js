// Money: plans and prices, coupons, gift codes, price changes, invoices, disputes, tax rates, accounts on billing hold.
import { api, can, get, query } from "./api.js";
import { change } from "./dialog.js";
import {
  badge,
  button,
  copyButton,
  counted,
  day,
  download,
  facts,
  h,
  link,
  minorOf,
  money as amount,
  notify,
  number,
  panel,
  priceText,
  status,
  time,
} from "./dom.js";
import { area, input, optional, select } from "./form.js";
import { table } from "./table.js";
import { refund } from "./viewer-actions.js";

const PARTS = {
  plans: ["Plans and prices", plans],
  invoices: ["Invoices", invoices],
  coupons: ["Coupons", coupons],
  gifts: ["Gift codes", gifts],
  changes: ["Price changes", priceChanges],
  disputes: ["Disputes", disputes],
  taxes: ["Tax rates", taxes],
  holds: ["Differences", holds],
};
const AMOUNT = { inputmode: "decimal", pattern: "[0-9]+([.][0-9]+)?", title: "A number such as 4.99" };
const CURRENCY = { maxlength: 3, minlength: 3, pattern: "[A-Z]{3}", title: "Three capital letters, such as EUR" };
const viewer = (id) => (can("support") ? link(`#/viewer/${id}/invoices`, id) : id);

export default async function money({ rest: [part = "plans"], show }) {
  const key = PARTS[part] ? part : "plans";
  return [
    h("h1", {}, "Money"),
    h(
      "nav",
      { class: "tabs", "aria-label": "Parts" },
      Object.entries(PARTS).map(([to, [name]]) =>
        link(`#/money/${to}`, name, { "aria-current": to === key && "page" }),
      ),
    ),
    panel(PARTS[key][0], await PARTS[key][1](show)),
  ];
}
const mayWrite = () => can("billing", true);
// All plans and add-ons, on sale or not.
const listPlans = async () => (await get("/admin/plans")).items;

const termsOf = (prices) =>
  prices
    .map((price) =>
      [priceText(price), price.trial_days && `${price.trial_days} days of trial`, price.countries?.join(", ")]
        .filter(Boolean)
        .join(", "),
    )
    .join(" · ");

function whyNotOnSale({ retired_prices }) {
  if (!retired_prices.length) return "It has never had a price. Add one to sell it.";
  const since = retired_prices
    .map(({ retired_at }) => retired_at)
    .sort()
    .at(-1);
  return `Its last price was withdrawn on ${day(since)}. Those who have it keep it.`;
}

async function plans(show) {
  const items = await listPlans();
  return [
    mayWrite() &&
      h(
        "p",
        { class: "actions" },
        button("New plan", () => editPlan({ code: "", name: "", description: null, features: {}, prices: [] }, show)),
      ),
    items.length
      ? h(
          "ul",
          { class: "rows" },
          items.map((plan) =>
            h(
              "li",
              {},
              h(
                "div",
                {},
                h("strong", {}, plan.name),
                " ",
                h("code", {}, plan.code),
                plan.addon && " ",
                plan.addon && badge("add-on"),
                !plan.prices.length && [" ", badge("not on sale", "warn")],
                h("div", { class: "muted" }, termsOf(plan.prices) || whyNotOnSale(plan)),
                h(
                  "small",
                  {},
                  `${counted(plan.features.max_streams, "stream")}, up to ${plan.features.max_height}p, ${counted(plan.features.max_devices, "device")}`,
                ),
                plan.retired_prices.length > 0 && earlierPrices(plan),
              ),
              mayWrite() && button("Edit", () => editPlan(plan, show), { "aria-label": `Edit ${plan.name}` }),
            ),
          ),
        )
      : h("p", { class: "muted" }, "No plan yet."),
  ];
}

const earlierPrices = ({ retired_prices }) =>
  h(
    "details",
    {},
    h("summary", {}, counted(retired_prices.length, "earlier price")),
    h(
      "ul",
      { class: "plain" },
      retired_prices.map((price) => h("li", {}, termsOf([price]), ", until ", time(price.retired_at))),
    ),
  );

function editPlan(plan, show) {
  const { features } = plan;
  const line = ({ amount_minor, currency, interval, interval_count, trial_days, tax, countries }) =>
    [amount_minor, currency, interval, interval_count, trial_days, tax, countries?.join(",")]
      .filter((each) => each != null)
      .join(" ");
  // A line that is as before stands for the price as it was, with what a line does not show.
  const read = (text) => {
    const old = [...plan.prices];
    return text
      .split("\n")
      .map((row) => row.trim())
      .filter(Boolean)
      .map((row) => {
        const [minor, currency, interval = "month", count = "1", trial = "0", tax = "inclusive", countries] =
          row.split(/\s+/);
        const price = {
          amount_minor: Number(minor),
          currency,
          interval,
          interval_count: Number(count),
          trial_days: Number(trial),
          tax,
          countries: countries?.split(",") ?? null,
        };
        const same = old.findIndex((each) => line(each) === line(price));
        return same < 0 ? price : old.splice(same, 1)[0];
      });
  };
  const body = (values) => ({
    name: values.name,
    description: values.description || null,
    addon: plan.addon ?? false,
    includes: plan.includes ?? [],
    sold_with: plan.sold_with ?? [],
    ...(plan.tax_category && { tax_category: plan.tax_category }),
    ...(plan.addon && { addon_features: plan.addon_features }),
    ...(!plan.addon && {
      features: {
        ...features,
        max_streams: Number(values.max_streams),
        max_height: Number(values.max_height),
        max_devices: Number(values.max_devices),
        max_profiles: Number(values.max_profiles),
        downloads: values.downloads === "yes",
      },
    }),
    prices: read(values.prices),
  });
  const count = (name, label, fallback) =>
    input(label, name, { type: "number", min: 0, value: features[name] ?? fallback });
  change({
    title: plan.code ? `Edit ${plan.name}` : "New plan",
    verb: "Save",
    done: show,
    explain:
      "A price that is sold is never edited: a changed one takes its place for new subscribers, and those who have it keep it. A price change moves them.",
    fields: [
      plan.code ? null : input("Code", "code", { maxlength: 64, pattern: "[a-z0-9][a-z0-9._\\-]*" }),
      input("Name", "name", { value: plan.name, maxlength: 200 }),
      optional("Description", "description", { value: plan.description ?? "", maxlength: 500 }),
      plan.addon
        ? null
        : h(
            "div",
            { class: "columns" },
            count("max_streams", "Streams at once", 2),
            count("max_height", "Picture height", 1080),
            count("max_devices", "Devices", 5),
            count("max_profiles", "Profiles", 5),
            select(
              "Downloads",
              "downloads",
              [
                ["yes", "yes"],
                ["no", "no"],
              ],
              { value: features.downloads ? "yes" : "no" },
            ),
          ),
      area("Prices", "prices", {
        value: plan.prices.map(line).join("\n"),
        hint: "One a line, in the smallest unit: 999 EUR month 1 14 is 9.99 euros a month with 14 days of trial. Then inclusive or exclusive of tax, and countries: DE,AT.",
      }),
    ].filter(Boolean),
    preview: (values) => {
      const { prices } = body(values);
      const gone = plan.prices.filter((price) => !prices.includes(price)),
        added = prices.filter((price) => !price.id);
      return facts([
        ["Stays on sale", termsOf(prices.filter(({ id }) => id)) || "nothing"],
        ["New", termsOf(added) || "nothing"],
        ["No longer sold", termsOf(gone) || "nothing"],
      ]);
    },
    run: async (values) => {
      const saved = await api("PUT", `/admin/plans/${encodeURIComponent(plan.code || values.code)}`, body(values));
      return saved.prices.length
        ? `${saved.name} is sold at ${termsOf(saved.prices)}.`
        : `${saved.name} is not on sale: it has no price.`;
    },
  });
}

const STATES = [["", "Any"], ...["draft", "open", "paid", "void", "uncollectible"].map((state) => [state, state])];
const unpaid = ({ status, amount_due_minor, amount_paid_minor }) =>
  ["open", "uncollectible"].includes(status) ? amount_due_minor - amount_paid_minor : 0;
function invoices() {
  return table({
    title: "Invoices",
    path: "/admin/invoices",
    empty: "No invoice yet.",
    filters: [select("State", "status", STATES)],
    columns: [
      { name: "Number", value: (row) => row.number ?? "draft" },
      { name: "Customer", value: (row) => row.customer.email ?? row.customer.name ?? "" },
      { name: "State", value: (row) => row.status, cell: (row) => status(row.status) },
      { name: "Issued", value: (row) => row.issued_at, cell: (row) => time(row.issued_at) ?? "–" },
      {
        name: "Total",
        value: (row) => row.total_minor,
        cell: (row) => amount(row.total_minor, row.currency),
        numeric: true,
      },
      { name: "Unpaid", value: unpaid, cell: (row) => amount(unpaid(row), row.currency), numeric: true },
      { name: "Next attempt", value: (row) => row.next_attempt_on, cell: (row) => day(row.next_attempt_on) ?? "–" },
    ],
    actions: (row, restart) => [
      can("support") && button("Viewer", () => find(row.id)),
      mayWrite() && refund(row, restart),
    ],
  });
}
const find = (id) => {
  location.hash = `#/viewers?q=${id}`;
};

const OFF = (row) => (row.percent_off != null ? `${row.percent_off} %` : amount(row.amount_off_minor, row.currency));
async function coupons() {
  const list = await table({
    title: "Coupons",
    path: "/admin/coupons",
    empty: "No coupon yet.",
    columns: [
      { name: "Code", value: (row) => row.code },
      { name: "Off", value: OFF },
      { name: "For", value: (row) => (row.duration === "repeating" ? `${row.periods} periods` : row.duration) },
      { name: "Audience", value: (row) => row.audience },
      {
        name: "Redeemed",
        value: (row) => row.redeemed,
        cell: (row) => `${number(row.redeemed)}${row.max_redemptions ? ` of ${number(row.max_redemptions)}` : ""}`,
        numeric: true,
      },
      { name: "Expires", value: (row) => row.expires_at, cell: (row) => time(row.expires_at) ?? "never" },
    ],
    actions: (row, restart) =>
      mayWrite() &&
      button("Change", () =>
        change({
          title: `Change ${row.code}`,
          verb: "Save",
          done: restart,
          explain: "The discount itself cannot be changed.",
          fields: [
            optional("Redemptions at most", "max_redemptions", {
              type: "number",
              min: 1,
              value: row.max_redemptions ?? "",
            }),
            optional("Expires", "expires_at", {
              type: "datetime-local",
              value: row.expires_at?.slice(0, 16) ?? "",
              hint: "UTC",
            }),
          ],
          run: async (values) => {
            const { id, redeemed, code, ...rest } = row;
            await api("PUT", `/admin/coupons/${encodeURIComponent(code)}`, {
              ...rest,
              max_redemptions: Number(values.max_redemptions) || null,
              expires_at: values.expires_at ? `${values.expires_at}:00Z` : null,
            });
            return `${code} is changed.`;
          },
        }),
      ),
  });
  const add = () =>
    change({
      title: "New coupon",
      verb: "Create",
      done: list.restart,
      explain: "Either a percentage or an amount.",
      fields: [
        input("Code", "code", { maxlength: 64, pattern: "[A-Za-z0-9_\\-]+" }),
        optional("Percent off", "percent_off", { type: "number", min: 0.01, max: 100, step: "any" }),
        optional("Amount off", "amount", AMOUNT),
        optional("Its currency", "currency", CURRENCY),
        select("For", "duration", [
          ["once", "the first invoice"],
          ["repeating", "some periods"],
          ["forever", "ever"],
        ]),
        optional("Periods", "periods", { type: "number", min: 1 }),
        select("Audience", "audience", [
          ["anyone", "anyone"],
          ["new", "new subscribers"],
          ["returning", "returning subscribers"],
        ]),
        optional("Redemptions at most", "max_redemptions", { type: "number", min: 1 }),
      ],
      run: async ({ code, percent_off, amount: off, currency, periods, max_redemptions, ...rest }) => {
        const made = await api("PUT", `/admin/coupons/${encodeURIComponent(code)}`, {
          ...rest,
          ...(percent_off
            ? { percent_off: Number(percent_off) }
            : { amount_off_minor: minorOf(off, currency), currency }),
          periods: Number(periods) || null,
          max_redemptions: Number(max_redemptions) || null,
        });
        return `${made.code} takes ${OFF(made)} off.`;
      },
    });
  return [mayWrite() && h("p", { class: "actions" }, button("New coupon", add)), list];
}

async function gifts() {
  const list = await table({
    title: "Gift codes",
    path: "/admin/gift-codes",
    empty: "No gift code yet.",
    columns: [
      { name: "Id", value: (row) => row.id },
      {
        name: "Worth",
        value: (row) => row.amount_minor,
        cell: (row) => (row.periods ? `${row.periods} periods` : amount(row.amount_minor, row.currency)),
        numeric: true,
      },
      { name: "State", value: (row) => (row.revoked_at ? "revoked" : row.redeemed_at ? "redeemed" : "open") },
      { name: "Created", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
      {
        name: "Redeemed by",
        value: (row) => row.redeemed_by,
        cell: (row) => (row.redeemed_by ? viewer(row.redeemed_by) : "–"),
      },
      { name: "Expires", value: (row) => row.expires_at, cell: (row) => time(row.expires_at) ?? "never" },
    ],
  });
  const add = () =>
    change({
      title: "New gift codes",
      verb: "Create",
      done: list.restart,
      explain: "Each adds its amount to the credit of whoever redeems it. The codes are shown once.",
      fields: [
        input("Amount", "amount", AMOUNT),
        input("Currency", "currency", CURRENCY),
        input("How many", "quantity", { type: "number", min: 1, max: 1000, value: 1 }),
      ],
      preview: ({ amount: worth, currency, quantity }) =>
        h(
          "p",
          {},
          `${counted(Number(quantity), "code")} of ${amount(minorOf(worth, currency), currency)}: ${amount(minorOf(worth, currency) * Number(quantity), currency)} in all.`,
        ),
      run: async ({ amount: worth, currency, quantity }) => {
        const { items } = await api("POST", "/admin/gift-codes", {
          amount_minor: minorOf(worth, currency),
          currency,
          quantity: Number(quantity),
        });
        const codes = items.map(({ code }) => code);
        return [
          h("p", {}, `${counted(codes.length, "code")}, shown only now:`),
          h(
            "ul",
            { class: "codes" },
            codes.slice(0, 50).map((code) => h("li", {}, h("code", {}, code))),
          ),
          codes.length > 50 && h("p", { class: "muted" }, "The first 50. Copy or download them all:"),
          h(
            "p",
            { class: "actions" },
            copyButton(codes.join("\n")),
            button("Download", () => download("gift-codes.txt", "text/plain", codes.join("\n"))),
          ),
        ];
      },
    });
  return [mayWrite() && h("p", { class: "actions" }, button("New gift codes", add)), list];
}

async function priceChanges() {
  const items = await listPlans();
  const named = (list, note = "") =>
    items.flatMap((plan) => plan[list].map((price) => [price.id, `${plan.name}: ${priceText(price)}${note}`]));
  const sold = named("prices"),
    names = new Map([...sold, ...named("retired_prices", ", no longer sold")]);
  const name = (id) => names.get(id) ?? id;
  const list = await table({
    title: "Price changes",
    path: "/admin/price-migrations",
    empty: "No price change yet.",
    columns: [
      { name: "From", value: (row) => name(row.from_price_id) },
      { name: "To", value: (row) => name(row.to_price_id) },
      { name: "Effective", value: (row) => row.effective, cell: (row) => day(row.effective) },
      {
        name: "State",
        value: (row) => (row.withdrawn_at ? "withdrawn" : row.completed_at ? "scheduled" : "in progress"),
      },
      { name: "To be moved", value: (row) => row.counts.base + row.counts.planned + row.counts.addon, numeric: true },
      { name: "Moved", value: (row) => row.counts.applied, numeric: true },
    ],
    actions: (row, restart) =>
      mayWrite() &&
      !row.withdrawn_at &&
      button("Withdraw", () =>
        change({
          title: "Withdraw the price change",
          verb: "Withdraw",
          danger: true,
          done: restart,
          explain:
            "Subscribers who have not yet renewed at the new price keep the old one. Those who were notified get an email that the change was withdrawn.",
          run: async () => {
            await api("DELETE", `/admin/price-migrations/${row.id}`);
            return "The price change is withdrawn.";
          },
        }),
      ),
  });
  const announce = () =>
    change({
      title: "Change a price",
      verb: "Announce it",
      done: list.restart,
      explain: "Subscribers move at their first renewal on or after the date, and are notified once, by email.",
      fields: [
        optional("From price", "from_price_id", {
          list: "prices",
          hint: "An id. It may be one that is no longer sold.",
          required: true,
        }),
        select("To", "to_price_id", sold),
        input("Effective", "effective", { type: "date" }),
        input("Days of notice", "notice_days", { type: "number", min: 0, max: 365, value: 30 }),
        h(
          "datalist",
          { id: "prices" },
          [...names].map(([id, label]) => h("option", { value: id }, label)),
        ),
      ],
      preview: async (values) => {
        const shown = await get(`/admin/price-migrations/preview${query(values)}`);
        return [
          facts([
            ["Affected", counted(shown.subscriptions, "subscription")],
            ["Effective", day(shown.effective)],
            ["At one renewal each", amount(shown.renewal_change_minor, shown.currency)],
            ["MRR", amount(shown.mrr_change_minor, shown.currency)],
          ]),
          h("p", {}, "Nobody is notified before you confirm."),
        ];
      },
      run: async (values) => {
        const made = await api("POST", "/admin/price-migrations", {
          ...values,
          notice_days: Number(values.notice_days),
        });
        return `${counted(made.subscriptions, "subscription moves", "subscriptions move")} on or after ${day(made.effective)}.`;
      },
    });
  return [mayWrite() && h("p", { class: "actions" }, button("Change a price", announce)), list];
}

function disputes() {
  return table({
    title: "Disputes",
    path: "/admin/disputes",
    empty: "No payment is disputed.",
    columns: [
      { name: "Viewer", value: (row) => row.account_id, cell: (row) => viewer(row.account_id) },
      { name: "Payment", value: (row) => row.id },
      { name: "State", value: (row) => row.status, cell: (row) => status(row.status) },
      {
        name: "Disputed",
        value: (row) => row.disputed_minor,
        cell: (row) => amount(row.disputed_minor, row.currency),
        numeric: true,
      },
      {
        name: "Of",
        value: (row) => row.amount_minor,
        cell: (row) => amount(row.amount_minor, row.currency),
        numeric: true,
      },
      { name: "Paid", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
    ],
  });
}

async function taxes() {
  const list = await table({
    title: "Tax rates",
    path: "/admin/tax-rates",
    empty: "No tax rate is set: no tax is charged.",
    columns: [
      { name: "Country", value: (row) => row.country },
      { name: "Category", value: (row) => row.category },
      { name: "Percent", value: (row) => row.percent, numeric: true },
      { name: "Name", value: (row) => row.name },
    ],
    actions: (row, restart) => mayWrite() && button("Change", () => edit(row, restart)),
  });
  const edit = (row, restart) =>
    change({
      title: row.country ? `Tax of ${row.country}` : "New tax rate",
      verb: "Save",
      done: restart,
      explain: "Applies to invoices that are issued from now on.",
      fields: [
        input("Country", "country", {
          maxlength: 2,
          pattern: "[A-Z]{2}",
          value: row.country ?? "",
          readonly: Boolean(row.country),
        }),
        input("Category", "category", { value: row.category ?? "standard", readonly: Boolean(row.country) }),
        input("Percent", "percent", { type: "number", min: 0, max: 100, step: "any", value: row.percent ?? "" }),
        input("Name", "name", { value: row.name ?? "", maxlength: 64, hint: "As on the invoice, such as VAT." }),
      ],
      run: async ({ country, percent, ...rest }) => {
        const saved = await api("PUT", `/admin/tax-rates/${country}`, { ...rest, percent: Number(percent) });
        return `${saved.country}: ${saved.percent} % ${saved.name}, from the next invoice on.`;
      },
    });
  return [
    mayWrite() &&
      h(
        "p",
        { class: "actions" },
        button("New tax rate", () => edit({}, list.restart)),
      ),
    list,
  ];
}

async function holds() {
  const list = await table({
    title: "Subscriptions on billing hold",
    path: "/admin/subscriptions",
    parameters: { parked: true },
    empty: "All books agree; nothing is on hold.",
    columns: [
      { name: "Viewer", value: (row) => row.account_id, cell: (row) => viewer(row.account_id) },
      { name: "Plan", value: (row) => row.plan.name },
      { name: "Held since", value: (row) => row.parked_at, cell: (row) => time(row.parked_at) },
      { name: "Difference", value: (row) => row.parked_reason },
    ],
    actions: (row, restart) =>
      mayWrite() &&
      button("Release", async () => {
        await api("DELETE", `/admin/subscriptions/${row.id}/parking`);
        await restart();
        notify("The hold is released; what fell due is being billed.");
      }),
  });
  return [
    h(
      "p",
      { class: "muted" },
      "The nightly audit compares every book; a subscription that differs is not billed until the cause is fixed and the hold released.",
    ),
    list,
  ];
}
