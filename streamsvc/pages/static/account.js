// The account: what is known of it, its devices and sessions, credit, referral, and privacy.
import { api, idempotent, refreshSession, state } from "./api.js";
import { countryOptions } from "./countries.js";
import {
  actions,
  ask,
  button,
  facts,
  form,
  h,
  heading,
  input,
  itemList,
  link,
  muted,
  notify,
  section,
  select,
} from "./dom.js";
import {
  countryName,
  formatDate,
  formatMoney,
  formatPosition,
  formatTime,
  LANGUAGES,
  language,
  t,
  tn,
} from "./i18n.js";

const INVOICE_STATES = {
  draft: t("draft"),
  open: t("open"),
  paid: t("paid"),
  void: t("void"),
  uncollectible: t("not collected"),
};
const PLAY_STATES = {
  starting: t("starting"),
  playing: t("playing"),
  paused: t("paused"),
  buffering: t("loading"),
  seeking: t("seeking"),
};

export async function account(_, __, { show }) {
  const { account: own, profile } = state.me;
  const [streams, balance] = await Promise.all([api("GET", "/playback"), api("GET", "/account/balance?limit=1")]);
  const credit = balance.balances.filter(({ amount_minor }) => amount_minor > 0);
  const places = [
    ["#/plans", t("Plan")],
    ["#/cards", t("Cards")],
    ["#/invoices", t("Invoices")],
    ["#/profiles", t("Profiles")],
    ["#/devices", t("Devices")],
    ["#/security", t("Security")],
    ["#/watchlist", t("Watchlist")],
    ["#/activate", t("Sign in a TV")],
    ["#/gift", t("Redeem a gift")],
    ["#/give", t("Give a gift")],
    ["#/referral", t("Refer a friend")],
    ["#/privacy", t("Privacy")],
  ];
  return [
    heading(t("Your account")),
    facts([
      [t("Email"), own.email + (own.email_verified ? "" : ` ${t("(not confirmed)")}`)],
      [t("Country"), countryName(own.country)],
      [t("Profile"), profile?.name ?? t("none selected")],
      ...credit.map((each) => [t("Credit"), formatMoney(each)]),
    ]),
    h(
      "nav",
      { class: "tiles", "aria-label": t("Your account") },
      places.map(([to, text]) => link(to, text)),
    ),
    section(
      t("Playing now"),
      itemList(
        streams.items,
        (stream) => [
          h(
            "span",
            {},
            t("{device}: {state} at {position}", {
              device: stream.device.name ?? t("Unknown device"),
              state: PLAY_STATES[stream.state] ?? stream.state,
              position: formatPosition(stream.position_s),
            }),
          ),
          button(t("Stop"), async () => {
            await api("DELETE", `/playback/${stream.stream_id}`);
            await show();
          }),
        ],
        t("Nothing is playing."),
      ),
    ),
    section(
      t("Your details"),
      form(
        t("Save"),
        async (values) => {
          await api("PATCH", "/account", values);
          await refreshSession();
          notify(t("Saved."));
        },
        input(t("Your name"), "name", { value: own.name ?? "", maxlength: 60, autocomplete: "name" }),
        select(t("Country"), "country", countryOptions(), own.country),
        select(
          t("Language of your emails"),
          "locale",
          Object.entries(LANGUAGES),
          own.locale?.split("-")[0] ?? language,
        ),
      ),
    ),
    actions(
      button(t("Sign out"), async () => {
        await api("DELETE", "/sessions/current");
        state.me = null;
        location.assign("#/");
      }),
    ),
  ];
}
export async function devices(_, __, { show }) {
  const [{ items }, sessions] = await Promise.all([api("GET", "/devices"), api("GET", "/sessions")]);
  const remove = (path) => async () => {
    await api("DELETE", path);
    await refreshSession();
    await show();
  };
  return [
    heading(t("Devices")),
    itemList(
      items,
      (device) => [
        h("span", {}, device.name, device.current && ` ${t("(this device)")}`),
        h("span", { class: "muted" }, t("last seen {time}", { time: formatTime(device.last_seen_at) })),
        !device.current &&
          button(t("Remove"), remove(`/devices/${device.id}`), {
            "aria-label": t("Remove {name}", { name: device.name }),
          }),
      ],
      t("No devices."),
    ),
    section(
      t("Sessions"),
      itemList(
        sessions.items,
        (session) => [
          h("span", {}, session.device?.name ?? t("Unknown device"), session.current && ` ${t("(this session)")}`),
          h(
            "span",
            { class: "muted" },
            t("from {place}, last used {time}", {
              place: session.city ?? session.address ?? t("an unknown location"),
              time: formatTime(session.last_seen_at),
            }),
          ),
          !session.current && button(t("End"), remove(`/sessions/${session.id}`)),
        ],
        t("No sessions."),
      ),
      sessions.items.length > 1 && actions(button(t("End all other sessions"), remove("/sessions"))),
    ),
    actions(link("#/activate", t("Sign in a TV"))),
  ];
}
export async function invoices(_, __, { show }) {
  const { items } = await api("GET", "/invoices?limit=50");
  const pay = async ({ id }) => {
    const { authenticated } = await import("./bank.js");
    await authenticated(await api("GET", "/payment-config"), () =>
      api("POST", `/invoices/${id}/payments`, {}, idempotent()),
    );
    await refreshSession();
    notify(t("Paid. Thank you."));
    await show();
  };
  return [
    heading(t("Invoices")),
    itemList(
      items.filter((invoice) => invoice.number),
      (invoice) => [
        h(
          "span",
          {},
          h("strong", {}, formatMoney(invoice, invoice.total_minor)),
          ` ${invoice.number}`,
          h("span", { class: "muted block" }, formatDate(invoice.issued_at)),
        ),
        h("span", {}, INVOICE_STATES[invoice.status]),
        invoice.status === "open" &&
          invoice.balance_minor > 0 &&
          button(t("Pay now"), () => pay(invoice), { class: "primary" }),
        h(
          "a",
          {
            class: "button",
            href: `v1/invoices/${invoice.id}/pdf`,
            "aria-label": t("Invoice {number} as PDF", { number: invoice.number }),
          },
          "PDF",
        ),
      ],
      t("No invoices yet."),
    ),
    actions(link("#/account", t("Back to your account"))),
  ];
}
export async function referral() {
  const { code, referred, rewarded } = await api("PUT", "/account/referral");
  return [
    heading(t("Refer a friend")),
    h(
      "p",
      {},
      t("Give this code to a friend. When they first pay, you both get credit, if the service grants any at the time."),
    ),
    h("p", { class: "code" }, code),
    muted(
      tn("{n} friend has used it.", "{n} friends have used it.", referred),
      " ",
      tn("{n} reward so far.", "{n} rewards so far.", rewarded),
    ),
    actions(
      button(t("Copy the code"), async () => {
        await navigator.clipboard.writeText(code);
        notify(t("Copied."));
      }),
      link("#/account", t("Back to your account")),
    ),
  ];
}
export function privacy() {
  const download = async () => {
    const file = new Blob([JSON.stringify(await api("GET", "/account/export"), null, 2)], { type: "application/json" });
    const anchor = h("a", { href: URL.createObjectURL(file), download: "streamsvc-account.json" });
    anchor.click();
    URL.revokeObjectURL(anchor.href);
    notify(t("Your data has been downloaded."));
  };
  const remove = async () => {
    if (
      !(await ask(
        t("Delete your account?"),
        [
          t(
            "Your plan ends, everybody is signed out, and your profiles and history are deleted. Invoices are kept for as long as the law requires.",
          ),
          t("For a while, the link in the email that we send restores it."),
        ],
        t("Delete account"),
      ))
    )
      return;
    await api("DELETE", "/account");
    state.me = null;
    location.assign("#/");
    notify(t("Your account is deleted."));
  };
  return [
    heading(t("Privacy")),
    section(
      t("Your data"),
      h("p", {}, t("Everything that we store about you, as one JSON file.")),
      actions(button(t("Download your data"), download)),
    ),
    section(
      t("Delete your account"),
      h("p", {}, t("You can download your data first.")),
      actions(button(t("Delete account"), remove, { class: "danger" })),
    ),
    actions(link("#/account", t("Back to your account"))),
  ];
}
