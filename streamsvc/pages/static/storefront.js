// The storefront over the API. The fragment of the URL selects the page; each page is a function that returns nodes.
import { canBrowse, refreshSession, state } from "./api.js";
import { watchSearchField } from "./browse.js";
import { $, h, heading, link, main, render } from "./dom.js";
import { LANGUAGES, language, t } from "./i18n.js";
import { avatar } from "./titles.js";

// Page: [module, its function, who may open it]. A module is fetched when one of its pages is first opened.
const PAGES = {
  "": ["browse", "home"],
  "sign-in": ["signin", "signIn"],
  "sign-up": ["signin", "signUp"],
  forgot: ["signin", "forgotPassword"],
  "reset-password": ["signin", "resetPassword"],
  plans: ["plans", "plans"],
  gift: ["gifts", "gift"],
  tv: ["tv", "tv"],
  "confirm-email": ["mailed"],
  "undo-email-change": ["mailed"],
  "not-my-device": ["mailed"],
  "not-me": ["mailed"],
  "cancel-recovery": ["mailed"],
  "recover-account": ["mailed"],
  "operator-invitation": ["mailed"],
  "take-profile": ["mailed"],
  "restore-account": ["mailed"],
  search: ["browse", "search", "catalog"],
  genre: ["browse", "genre", "catalog"],
  title: ["browse", "title", "catalog"],
  collection: ["browse", "collection", "catalog"],
  channels: ["channels", "channels", "catalog"],
  channel: ["channels", "channel", "catalog"],
  profiles: ["profiles", "profiles", "viewer"],
  profile: ["profiles", "profile", "viewer"],
  watchlist: ["browse", "watchlist", "viewer"],
  play: ["player", "play", "viewer"],
  buy: ["checkout", "buy", "viewer"],
  "payment-return": ["checkout", "paymentReturn", "viewer"],
  cards: ["cards", "cards", "viewer"],
  give: ["gifts", "give", "viewer"],
  account: ["account", "account", "viewer"],
  devices: ["account", "devices", "viewer"],
  invoices: ["account", "invoices", "viewer"],
  referral: ["account", "referral", "viewer"],
  privacy: ["account", "privacy", "viewer"],
  security: ["security", "security", "viewer"],
  activate: ["tv", "activate", "viewer"],
};
const SIGN_IN = ["signin", "signIn"];
const searchField = $("q");
let navigation = 0; // counts page changes, so that a slow page cannot replace a later one
let leaving = []; // clean-up of the current page, called when another page is opened

async function loadPage(name, [module, exported]) {
  const room = await import(`./${module}.js`);
  return exported ? room[exported] : room.EMAIL_PAGES[name];
}
const plans = async (...args) => (await import("./plans.js")).plans(...args);

export async function show() {
  const current = ++navigation,
    page = { show, plans, onLeave: (action) => (current === navigation ? leaving.push(action) : action()) };
  for (const action of leaving.splice(0)) action();
  document.querySelector("dialog")?.close();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  main.setAttribute("aria-busy", "true");
  let nodes,
    isOpen = state.me != null;
  try {
    isOpen = await canBrowse();
    const entry = PAGES[name],
      isClosed = (entry?.[2] === "viewer" && !state.me) || (entry?.[2] === "catalog" && !isOpen);
    const open = entry && (await loadPage(name, isClosed ? SIGN_IN : entry));
    nodes = open
      ? await open(id && decodeURIComponent(id), new URLSearchParams(query), page)
      : [heading(t("Page not found")), link("#/", t("Home"))];
  } catch (error) {
    nodes = [
      heading(t("Something went wrong")),
      h("p", { class: "error" }, error.message),
      h(
        "p",
        { class: "actions" },
        h("button", { type: "button", onclick: show }, t("Try again")),
        link("#/", t("Home")),
      ),
    ];
  }
  if (current !== navigation) return;
  main.removeAttribute("aria-busy");
  render(nodes);
  $("search").hidden = !isOpen;
  if (name !== "search" && document.activeElement !== searchField) searchField.value = "";
  showNavigation(name);
  const title = main.querySelector("h1");
  document.title = `${title?.textContent ?? ""} – streamsvc`;
  if (document.activeElement === searchField && name === "search") return;
  scrollTo(0, 0);
  title?.setAttribute("tabindex", "-1");
  title?.focus();
}

function showNavigation(name) {
  const entry = (to, text) => h("a", { href: `#/${to}`, "aria-current": to === name && "page" }, text);
  const { me } = state,
    isKid = me?.profile?.kids;
  $("nav").replaceChildren(
    ...(me
      ? [
          entry("", t("Home")),
          !isKid && entry("plans", t("Plans")),
          !isKid && entry("account", t("Account")),
          h(
            "a",
            { href: "#/profiles", class: "who", "aria-current": name === "profiles" && "page" },
            avatar(me.profile?.name ?? "?"),
            h("span", { class: "visually-hidden" }, `${t("Who is watching?")} ${me.profile?.name ?? ""}`),
          ),
        ]
      : [entry("plans", t("Plans")), entry("sign-in", t("Sign in"))]
    ).filter(Boolean),
  );
}

// The parts of the page that stay: texts in its language, the choice of the language and of light or dark.
function showFrame() {
  document.querySelector(".skip").textContent = t("Skip to content");
  searchField.labels[0].textContent = t("Search films and series");
  searchField.placeholder = t("Search");
  $("nav").setAttribute("aria-label", t("Main"));
  const choice = (label, name, options, chosen, change) =>
    h(
      "label",
      {},
      `${label} `,
      h(
        "select",
        { name, onchange: ({ target }) => change(target.value) },
        options.map(([value, text]) =>
          h("option", { value, selected: value === chosen, lang: name === "language" ? value : null }, text),
        ),
      ),
    );
  $("footer").replaceChildren(
    choice(t("Language"), "language", Object.entries(LANGUAGES), language, (code) => {
      localStorage.language = code;
      location.reload();
    }),
    choice(
      t("Colours"),
      "theme",
      [
        ["", t("As on this device")],
        ["light", t("Light")],
        ["dark", t("Dark")],
      ],
      localStorage.theme ?? "",
      (theme) => {
        localStorage.theme = theme;
        showTheme();
      },
    ),
    h("a", { href: "docs" }, t("API documentation")),
  );
}
function showTheme() {
  document.documentElement.dataset.theme = localStorage.theme ?? "";
}

// For TV remote controls, which only have arrow keys: move the focus to the nearest card in that direction.
main.addEventListener("keydown", (event) => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  if (x === undefined || !event.target.matches(".card")) return;
  const from = event.target.getBoundingClientRect();
  const distances = (element) => {
    const box = element.getBoundingClientRect();
    return [
      (box.x - from.x) * x + (box.y - from.y) * y,
      Math.abs((box.x - from.x) * y) + Math.abs((box.y - from.y) * x),
    ];
  };
  const [nearest] = [...main.querySelectorAll(".card")]
    .map((element) => [element, ...distances(element)])
    .filter(([, ahead]) => ahead > 8)
    .sort((a, b) => a[1] + 3 * a[2] - b[1] - 3 * b[2]);
  if (!nearest) return;
  event.preventDefault();
  nearest[0].focus();
});

document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
showTheme();
showFrame();
watchSearchField();
addEventListener("hashchange", show);
document.addEventListener("reload", show);
await refreshSession().catch(() => {});
await show();
