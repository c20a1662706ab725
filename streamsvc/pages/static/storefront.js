// A storefront over the API: each page is a function that gives nodes, named by what stands behind the #.
const $ = (id) => document.getElementById(id);
const main = $("main"), field = $("q");
const WHY_NOT = {
  subscription_required: "Choose a plan to watch this.",
  not_in_plan: "Your plan does not have this one; a larger one does.",
  profile_required: "Choose who is watching first.",
  country_unknown: "We cannot tell which country you are in.",
  not_available_in_country: "This is not available in your country.",
  not_yet_available: "This is not out yet.",
  no_longer_available: "This has left the catalogue.",
};
let me = null; // what GET /v1/sessions/current tells, with its CSRF token
let leave = () => {}; // what the page in view wants done when it goes

function h(tag, given = {}, ...inside) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...inside.flat(Infinity).filter((one) => one != null && one !== false));
  return made;
}

async function api(method, path, body, more = {}) {
  const headers = { ...more.headers };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (me && method !== "GET") headers["X-CSRF-Token"] = me.csrf_token;
  const answer = await fetch("v1" + path, { ...more, method, headers, body: JSON.stringify(body) });
  const told = answer.status === 204 ? null : await answer.json();
  if (answer.ok) return told;
  if (told.code === "reauthentication_required") {
    await proveAgain();
    return api(method, path, body, more.headers ? { ...more, ...once() } : more); // the refusal stands under the key
  }
  if (told.code === "not_signed_in" && me) location.assign((me = null, "#/sign-in"));
  throw Object.assign(new Error(words(told)), told);
}
const words = (told) => Object.values(told.errors ?? {}).flat().join(" ") || told.detail;
const once = () => ({ headers: { "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join("") } });

function say(text) {
  $("told").textContent = text;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => ($("told").textContent = ""), 4000);
}
function turnTo(heading, ...inside) { // what comes next on the same page
  main.replaceChildren(h("h1", { tabindex: -1 }, heading), ...inside.flat());
  main.firstChild.focus();
}
const money = (price, minor = price.amount_minor) => {
  const form = new Intl.NumberFormat(undefined, { style: "currency", currency: price.currency });
  return form.format(minor / 10 ** form.resolvedOptions().maximumFractionDigits);
};
const clock = (s) => [s / 3600, (s / 60) % 60, s % 60].map((n) => String(Math.floor(n)).padStart(2, "0")).join(":");
const minutes = (s) => (s >= 3600 ? `${Math.floor(s / 3600)} h ` : "") + `${Math.round((s % 3600) / 60)} min`;
const when = (moment) => new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const country = (code) => new Intl.DisplayNames(undefined, { type: "region", fallback: "none" }).of(code);

// --- pieces --------------------------------------------------------------------------------------------------------
function poster(text, seed = text) {
  const made = h("span", { class: "poster" }, text);
  made.style.setProperty("--hue", [...seed].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
  return made;
}
function card(title) {
  const { episode, progress } = title;
  const about = episode ? `S${episode.season} E${episode.number}` : [title.year, title.runtime_s && minutes(title.runtime_s)];
  return h("li", {}, h("a", { class: "card", href: `#/title/${title.id}` }, poster(title.title),
    progress && h("progress", { max: progress.duration_s ?? 1, value: progress.position_s, "aria-label": "watched" }),
    h("small", {}, [about].flat().filter(Boolean).join(" · ") || " ")));
}
const strip = (titles) => h("ul", { class: "strip" }, titles.map(card));
function pages(path, first) {
  const list = h("ul", { class: "grid" }, first.items.map(card));
  let next = first.next_cursor;
  const more = button("Show more", async () => {
    const page = await api("GET", `${path}&cursor=${encodeURIComponent(next)}`);
    const from = list.children.length;
    list.append(...page.items.map(card));
    list.children[from]?.querySelector("a").focus();
    more.hidden = !(next = page.next_cursor);
  });
  more.hidden = !next;
  return [list, h("p", { class: "acts" }, more)];
}
function button(text, act, given = {}) {
  const made = h("button", { type: "button", ...given, onclick: () => busy(made, act) }, text);
  return made;
}
async function busy(control, act) {
  control.disabled = true;
  try { await act(); } catch (error) { say(error.message); } finally { control.disabled = false; }
}
const choice = (label, name) => h("label", { class: "choice" }, h("input", { type: "checkbox", name }), label);
const input = (label, name, given = {}) => h("label", {}, label, h("input", { name, required: true, ...given }));
function sheet(label, act, ...fields) {
  const wrong = h("p", { class: "bad", role: "alert" });
  const send = h("button", { class: "first" }, label);
  return h("form", { class: "sheet", onsubmit: async (event) => {
    event.preventDefault();
    send.disabled = true;
    wrong.textContent = "";
    try { await act(Object.fromEntries(new FormData(event.target)), event.target); }
    catch (error) { wrong.textContent = error.message; }
    send.disabled = false;
  } }, fields, wrong, h("p", { class: "acts" }, send));
}
const rows = (items, tell, none) => (items.length ? h("ul", { class: "list" }, items.map((one) => h("li", {}, tell(one)))) : h("p", { class: "quiet" }, none));
const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

// --- who is there --------------------------------------------------------------------------------------------------
async function enter(told, to) {
  localStorage.device = told.session.device.id;
  me = told.csrf_token ? told : null;
  await refresh();
  location.assign(to ?? (me.profile && me.profiles.length === 1 ? "#/" : "#/profiles"));
}
async function refresh() {
  me = await api("GET", "/sessions/current").catch((error) => { if (error.status !== 401) throw error; return null; });
}
const browser = () => ({ id: localStorage.device, name: /Mobile|Android|iPhone/.test(navigator.userAgent) ? "Phone's browser" : "Web browser", kind: "web" });
const secrets = { type: "password", minlength: 8, maxlength: 128 };

const fresh = { ...secrets, autocomplete: "new-password" };
const digits = { inputmode: "numeric", autocomplete: "one-time-code" };
const PROOFS = { // by the API's word: the field's label, what it is called in a sentence, the field
  password: ["Your password", "your password", { ...secrets, minlength: 1, autocomplete: "current-password" }],
  totp: ["Code of your authenticator", "your authenticator", digits],
  recovery_code: ["One of your recovery codes", "a recovery code", { autocomplete: "off" }],
  email_code: ["Code that we just mailed you", "a mailed code", digits],
};
const PASSKEYS = window.PublicKeyCredential?.parseCreationOptionsFromJSON && !/^[\d.]+$|:/.test(location.hostname); // they are for names
const passkey = async (act, publicKey) => (await navigator.credentials[act]({ publicKey }).catch((error) => {
  throw error.name === "NotAllowedError" ? new Error("No passkey was given.") : error;
})).toJSON();

// Asks for one proof of those that an answer names; the others are a click away.
function proof(trust) {
  const place = h("div", { class: "proof" });
  place.ask = ([name, ...others]) => {
    const [label, , given] = PROOFS[name];
    const swap = (other) => button(`Use ${PROOFS[other][1]} instead`, () => place.ask([other, name, ...others.filter((one) => one !== other)]));
    place.replaceChildren(...[input(label, name, given), name !== "email_code" && trust, ...others.map(swap)].filter(Boolean));
    place.querySelector("input").focus();
  };
  return place;
}
async function proveAgain() {
  const path = "/sessions/current/reauthentication";
  // Mails a code to who has neither password nor authenticator; everybody else hears which of them there is.
  const { methods } = await api("POST", `${path}/email-code`).catch((error) => { if (error.methods) return error; throw error; });
  await new Promise((proved, gaveUp) => {
    const asked = proof();
    const form = sheet("Go on", async (given) => { await api("POST", path, given); proved(); box.close(); }, asked);
    const box = h("dialog", { "aria-labelledby": "again", onclose: () => { box.remove(); gaveUp(new Error("Nothing was changed.")); } },
      h("h2", { id: "again" }, "Is it you?"), h("p", { class: "quiet" }, "This needs a proof of the last ten minutes."), form);
    form.lastChild.append(button("Cancel", () => box.close()));
    document.body.append(box);
    box.showModal();
    asked.ask(methods ?? ["email_code"]);
  });
}

// Every way to sign in ends so: what else the answer asks for is asked for in place.
function entry(path, begun, ...fields) {
  const asked = proof(choice("Trust this device: ask for no code here", "trust_device"));
  return sheet("Sign in", async ({ trust_device, ...given }) => {
    const sent = { ...begun, ...given, trust_device: trust_device === "on", cookie: true, device: browser() };
    await api("POST", path, sent).then((told) => enter(told), (error) => { if (error.methods) asked.ask(error.methods); else throw error; });
  }, fields, asked);
}
function signIn(_, asked) {
  if (asked.has("token")) return [h("h1", {}, "Sign in with your link"), h("p", { class: "quiet" }, "It works once, in the browser where you asked for it."), entry("/sessions/magic-link", { token: asked.get("token") })];
  const email = input("E-mail", "email", { type: "email", autocomplete: "username" });
  const byLink = async () => {
    if (!email.lastChild.reportValidity()) return;
    await api("POST", "/magic-links", { email: email.lastChild.value, cookie: true });
    turnTo("Look into your mail", h("p", {}, `If ${email.lastChild.value} has an account here, a link is on its way. Open it in this browser.`));
  };
  const byPasskey = async () => {
    const options = await api("POST", "/sessions/passkey-options", { cookie: true });
    const form = entry("/sessions/passkey", { credential: await passkey("get", PublicKeyCredential.parseRequestOptionsFromJSON(options)) });
    turnTo("Sign in with a passkey", form, h("p", {}, button("Sign in another way", show)));
    form.requestSubmit();
  };
  return [h("h1", {}, "Sign in"), entry("/sessions", {}, email, input("Password", "password", PROOFS.password[2])),
    h("p", { class: "acts" }, button("Mail me a link instead", byLink), PASSKEYS && button("Use a passkey", byPasskey)),
    h("p", {}, "New here? ", h("a", { href: "#/sign-up" }, "Create an account"), " · ", h("a", { href: "#/forgot" }, "Forgot your password?"))];
}
function signUp() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const locale = navigator.language;
  return [h("h1", {}, "Create an account"), sheet("Create the account", async (given) => {
    const told = await api("POST", "/accounts", { ...given, country: given.country.toUpperCase(), time_zone: timeZone, locale, cookie: true, device: browser() });
    if (told.session) await enter(told, "#/plans");
    else say("Look into your mail to go on.");
  }, input("Your name", "name", { autocomplete: "given-name", maxlength: 60 }), input("E-mail", "email", { type: "email", autocomplete: "username" }),
  input("Password", "password", fresh),
  input("Country, two letters", "country", { value: new Intl.Locale(locale).region ?? "DE", pattern: "[A-Za-z]{2}", maxlength: 2, autocomplete: "country" })),
  h("p", {}, "Have one? ", h("a", { href: "#/sign-in" }, "Sign in"))];
}
const forgot = () => [h("h1", {}, "Forgot your password?"), sheet("Send me a link", async (given) => {
  await api("POST", "/password-resets", given);
  say("If there is such an account, a mail is on its way.");
}, input("E-mail", "email", { type: "email", autocomplete: "username" }))];
const reset = (_, asked) => [h("h1", {}, "Choose a new password"), sheet("Save it", async (given) => {
  await api("PUT", "/password-resets", { ...given, token: asked.get("token") });
  location.assign("#/sign-in");
}, input("New password", "password", fresh))];
// Where a mail leads: nothing is sent before a click, since mail programs follow links by themselves.
const mailed = (heading, label, path, done) => (_, asked) => [h("h1", {}, heading), sheet(label, async () => {
  await api("PUT", path, { token: asked.get("token") });
  turnTo(heading, h("p", {}, done), h("p", { class: "acts" }, h("a", { class: "button first", href: "#/" }, "Go on")));
})];
const MAILED = {
  "confirm-email": mailed("Confirm your e-mail address", "Confirm it", "/email-verifications", "It is confirmed."),
  "undo-email-change": mailed("Have your old e-mail address back", "Undo the change", "/email-verifications", "You have it back, and everybody is signed out. A mail lets you choose a new password."),
  "not-my-device": mailed("A device that is not yours", "Sign it out", "/devices/disowned", "It is signed out. A mail lets you choose a new password."),
  "operator-invitation": invitation,
  "restore-account": mailed("Have your account back", "Open it again", "/account-restorations", "It is open again; sign in as ever."),
};
function invitation(_, asked) {
  const token = asked.get("token");
  return [h("h1", {}, "Operate streamsvc"), sheet("Begin", async () => {
    const it = await api("POST", "/admin/invitations", { token });
    turnTo(`Welcome, ${it.name}`, enrolment(it, async (given) => {
      reveal(await api("PUT", "/admin/invitations", { ...given, token }), h("p", {}, `${it.email} now signs in at POST /v1/admin/sessions, with the app's next code.`));
    }, input("New password", "password", fresh)));
  })];
}
function activate(_, asked) {
  const waiting = h("div", { role: "status" });
  return [h("h1", {}, "Sign in a television"), sheet("See what asks", async ({ code }) => {
    const it = await api("POST", "/device-code-lookups", { user_code: code });
    const decide = (approve) => async () => {
      await api("PUT", `/device-codes/${encodeURIComponent(code)}/decision`, { approve });
      waiting.replaceChildren(approve ? "It is signed in." : "It stays out.");
    };
    waiting.replaceChildren(h("p", {}, `“${it.device.name}” asks from ${it.city ?? it.address ?? "somewhere"}, since ${when(it.created_at)}. Is that the one before you?`),
      h("p", { class: "acts" }, button("Let it in", decide(true), { class: "first" }), button("Keep it out", decide(false))));
  }, input("Code on its screen", "code", { value: asked.get("code") ?? "", autocomplete: "off" })), waiting];
}

function profiles() {
  const pick = async (profile) => {
    const pin = profile.has_pin ? prompt(`PIN of ${profile.name}`) : undefined;
    if (pin === null) return;
    await api("PATCH", "/sessions/current", { profile_id: profile.id, ...(pin && { pin }) });
    await refresh();
    location.assign("#/");
  };
  return [h("h1", {}, "Who is watching?"),
    h("div", { class: "faces" }, me.profiles.map((one) => button([poster(one.name.slice(0, 1).toUpperCase(), one.name), one.name, one.has_pin && " (PIN)"], () => pick(one), { "aria-current": one.id === me.profile?.id && "true" }))),
    h("details", {}, h("summary", {}, "Add a profile"), h("br"), sheet("Add it", async ({ name, kids }) => {
      await api("POST", "/profiles", { name, kids: kids === "on", max_age: kids === "on" ? 6 : null }, once());
      await refresh();
      await show();
    }, input("Name", "name", { maxlength: 60 }), choice("For a child up to six", "kids")))];
}

// --- what there is -------------------------------------------------------------------------------------------------
async function home() {
  if (!me) return [h("div", { class: "hero" }, h("h1", {}, "Thousands of films. One small API."),
    h("p", { class: "quiet" }, "This page is a demo of streamsvc: everything on it happens over the same API that you can call."),
    h("p", { class: "acts" }, h("a", { class: "button first", href: "#/sign-up" }, "Create an account"), h("a", { class: "button", href: "#/sign-in" }, "Sign in"), h("a", { class: "button", href: "docs" }, "See the API"))), await plans()];
  const [rows, genres] = await Promise.all([api("GET", "/catalog/home"), api("GET", "/catalog/genres")]);
  return [h("h1", { class: "unseen" }, "Home"), rows.items.map((row) => [h("h2", {}, row.title), strip(row.items)]),
    h("h2", {}, "Genres"), h("p", { class: "acts" }, genres.items.map((one) => h("a", { class: "button", href: `#/genre/${one.code}` }, one.name)))];
}
async function genre(code) {
  const path = `/catalog/titles?genre=${encodeURIComponent(code)}&sort=-popularity&limit=30`;
  return [h("h1", {}, code.replace(/^./, (c) => c.toUpperCase())), pages(path, await api("GET", path))];
}
async function search(_, asked) {
  const q = asked.get("q") ?? "";
  if (field.value !== q && document.activeElement !== field) field.value = q;
  const path = `/catalog/search?q=${encodeURIComponent(q)}&limit=30`;
  const found = await api("GET", path);
  return [h("h1", {}, found.items.length ? `Found for “${q}”` : `Nothing found for “${q}”`), pages(path, found)];
}
async function title(id) {
  const [it, states] = await Promise.all([api("GET", `/catalog/titles/${id}?expand=seasons,similar`), me.profile ? api("GET", `/profiles/${me.profile.id}/state?ids=${id}`) : { items: [] }]);
  let wanted = states.items[0]?.in_watchlist;
  const { playable, reason, starts_at } = it.availability;
  const at = states.items[0]?.progress?.resume_s;
  const wish = button(wanted ? "On your list" : "Add to your list", async () => {
    await api(wanted ? "DELETE" : "PUT", `/profiles/${me.profile.id}/watchlist/${id}`);
    wish.textContent = (wanted = !wanted) ? "On your list" : "Add to your list";
    wish.setAttribute("aria-pressed", wanted);
  }, { "aria-pressed": String(!!wanted) });
  const people = (role) => it.credits.filter((one) => one.role === role).slice(0, 6).map((one) => one.name).join(", ");
  return [h("article", { class: "title" }, poster(it.title), h("div", {}, h("h1", {}, it.title),
    h("p", { class: "quiet" }, [it.year, it.runtime_s && minutes(it.runtime_s), it.age_rating?.label, it.genres.join(", ")].filter(Boolean).join(" · ")),
    it.synopsis && h("p", {}, it.synopsis),
    h("p", { class: "acts" }, playable && it.kind === "movie" && h("a", { class: "button first", href: `#/play/${id}` }, at ? `Go on at ${clock(at)}` : "Play"),
      !playable && h("span", { class: "bad" }, WHY_NOT[reason] ?? reason, reason === "not_yet_available" && starts_at && ` It comes on ${when(starts_at)}.`),
      ["subscription_required", "not_in_plan"].includes(reason) && h("a", { class: "button first", href: "#/plans" }, "See the plans"),
      me.profile && wish),
    facts([["With", people("actor")], ["Directed by", people("director")], ["Written by", people("writer")]].filter(([, who]) => who)),
    (it.seasons ?? []).map((season) => [h("h2", {}, season.title ?? `Season ${season.number}`), h("ol", { class: "list" }, season.episodes.map((one) =>
      h("li", {}, h("span", {}, `${one.number}. ${one.title ?? ""}`), playable && h("a", { class: "button", href: `#/play/${one.id}`, "aria-label": `Play episode ${one.number}` }, "Play"))))]))),
  it.similar?.length > 0 && [h("h2", {}, "More like this"), strip(it.similar)]];
}

// --- plans ---------------------------------------------------------------------------------------------------------
async function plans() {
  const { items } = await api("GET", "/plans" + (me ? `?country=${me.account.country}` : ""));
  const now = me?.subscription?.status === "canceled" ? null : me?.subscription;
  const currencies = [...new Set(items.flatMap((plan) => plan.prices.map((price) => price.currency)))].sort();
  const near = { US: "USD", GB: "GBP", JP: "JPY" }[me?.account.country ?? new Intl.Locale(navigator.language).region] ?? "EUR";
  const offer = (price) => [h("p", {}, h("span", { class: "price" }, money(price)), ` a ${price.interval}`, price.trial_days > 0 && `, the first ${price.trial_days} days free`),
    price.id === now?.price_id ? h("p", { class: "quiet" }, "This is yours.") : me && h("a", { class: "button", href: `#/buy/${price.id}` }, now ? "Change to it" : "Choose it")];
  const list = h("ul", { class: "plans" });
  const fill = (currency) => list.replaceChildren(...items.map((plan) => [plan, plan.prices.filter((price) => price.currency === currency)]).filter(([, prices]) => prices.length).map(([plan, prices]) => h("li", {},
    h("h2", {}, plan.name), h("p", { class: "quiet" }, plan.description), h("p", {}, `${plan.features.max_streams} at once, up to ${plan.features.max_height} lines${plan.features.ads ? ", with ads" : ""}`), prices.map(offer))));
  const choice = h("select", { onchange: () => fill(choice.value) }, currencies.map((one) => h("option", { selected: one === near }, one)));
  fill(choice.value);
  return [h("h1", {}, now ? "Your plan" : "Choose a plan"), now && standing(now, items.find((plan) => plan.code === now.plan)?.name ?? now.plan), h("p", { class: "acts" }, h("label", {}, "Currency ", choice)), list];
}
function standing(it, name) {
  const change = (text, act) => button(text, async () => { await act(); await refresh(); await show(); });
  return h("p", { class: "acts" }, h("span", {}, `${name}, ${it.status.replace("_", " ")}`, it.cancel_at ? `, ends on ${it.cancel_at}` : it.period && `, next bill on ${it.period.end}`),
    it.cancel_at ? change("Keep it", () => api("DELETE", `/subscriptions/${it.id}/cancellation`)) : change("Cancel", () => api("POST", `/subscriptions/${it.id}/cancellation`, { when: "period_end" }, once())));
}
async function buy(price) {
  const now = me.subscription;
  const order = now ? { price_id: price, when: "auto" } : { price_id: price };
  const bill = await api("POST", "/invoice-previews", now ? { ...order, subscription_id: now.id } : order);
  const cards = { pm_card_visa: "Visa that pays", pm_card_chargeDeclined: "Card that declines", pm_card_authenticationRequired: "Card whose bank asks back" };
  return [h("h1", {}, "To pay"), h("div", { class: "panel" }, facts([...bill.lines.map((line) => [line.description, `${line.period?.start ?? ""} – ${line.period?.end ?? ""}: ${money(bill, line.amount_minor)}`]),
    ["Now", money(bill, bill.amount_due_minor)], ...(bill.next_renewal ? [["Then", `${money(bill, bill.next_renewal.total_minor)} on ${bill.next_renewal.date}`]] : [])])),
  h("br"), sheet(now ? "Change the plan" : "Subscribe", async ({ card }) => {
    const method = await api("POST", "/payment-methods", { token: card }, once());
    await (now ? api("POST", `/subscriptions/${now.id}/plan-change`, order, once()) : api("POST", "/subscriptions", { ...order, payment_method_id: method.id }, once()));
    await refresh();
    say("Done. Enjoy.");
    location.assign("#/");
  }, h("label", {}, "The sandbox's cards: no money moves", h("select", { name: "card" }, Object.entries(cards).map(([value, text]) => h("option", { value }, text)))))];
}

// --- playing -------------------------------------------------------------------------------------------------------
async function play(id, asked) {
  let stream;
  try {
    stream = await api("POST", "/playback", { item_id: id, ...(asked.get("replace") && { replace: asked.get("replace") }) }, once());
  } catch (error) {
    if (!error.code || error.code === "not_signed_in") throw error;
    return [h("h1", {}, "This does not play"), h("p", { class: "bad" }, WHY_NOT[error.code] ?? error.message),
      (error.streams ?? []).map((one) => h("p", { class: "acts" }, `${one.device.name ?? "A device"} plays.`, h("a", { class: "button first", href: `#/play/${id}?replace=${one.stream_id}` }, "Stop it and play here"))),
      h("p", { class: "acts" }, ["subscription_required", "not_in_plan"].includes(error.code) && h("a", { class: "button first", href: "#/plans" }, "See the plans"), error.devices && h("a", { class: "button", href: "#/account" }, "See your devices"), h("a", { class: "button", href: "#/" }, "Home"))];
  }
  let at = stream.resume_s, state = "playing", over = false;
  const shown = h("p", { class: "clock", role: "timer", "aria-label": "Position" }, clock(at));
  const pulse = h("dd", {}, "started"), seats = h("dd", {}), expires = h("dd", {});
  const count = (told) => (seats.textContent = `${told.current} of ${told.max} streams of your plan`);
  const renew = (grant) => (expires.textContent = `until ${when(grant.expires_at)}, renewed by each heartbeat`);
  const beat = async (said, more) => {
    if (over) return;
    over = said === "stopped";
    try {
      const told = await api("POST", `/playback/${stream.stream_id}/heartbeat`, { position_s: Math.floor(at), state: said, at: new Date().toISOString() }, more);
      pulse.textContent = `${said} at ${clock(at)}, told at ${new Date().toLocaleTimeString()}`;
      count(told);
      if (told.grant) renew(told.grant);
    } catch (error) {
      if (error.code !== "stream_ended") return say(error.message);
      end(); // first, so that nothing is told of what is over
      main.replaceChildren(h("h1", {}, "It ended"), h("p", {}, WHY_NOT[error.reason] ?? `Reason: ${error.reason.replaceAll("_", " ")}.`), h("a", { class: "button first", href: "#/" }, "Home"));
    }
  };
  const ticks = setInterval(() => { if (state === "playing") shown.textContent = clock(++at); }, 1000);
  const beats = setInterval(() => beat(state), stream.heartbeat.interval_s * 1000);
  const end = () => { over = true; clearInterval(ticks); clearInterval(beats); removeEventListener("pagehide", gone); };
  const gone = () => beat("stopped", { keepalive: true });
  addEventListener("pagehide", gone);
  leave = () => { gone(); end(); };
  const toggle = button("Pause", () => {
    toggle.textContent = (state = state === "playing" ? "paused" : "playing") === "playing" ? "Pause" : "Go on";
    return beat(state);
  }, { class: "first" });
  const skip = (s) => button(s > 0 ? `+${s} s` : `−${-s} s`, () => { shown.textContent = clock((at = Math.max(0, at + s))); return beat(state); });
  count(stream.limits);
  renew(stream.grant);
  return [h("h1", {}, "Playing"), h("div", { class: "player" }, h("div", { class: "screen" }, shown, h("p", { class: "quiet" }, "A demo has no pictures; a player would now fetch the manifest below.")),
    h("p", { class: "acts" }, toggle, skip(-30), skip(30), h("a", { class: "button", href: "#/" }, "Stop")),
    h("dl", { class: "facts" }, h("dt", {}, "Manifest"), h("dd", {}, stream.manifests.map((one) => h("div", {}, `${one.type}: ${one.url}`))), h("dt", {}, "Grant"), expires, h("dt", {}, "Heartbeat"), pulse,
      h("dt", {}, "Places"), seats, h("dt", {}, "Greatest height"), h("dd", {}, `${stream.limits.max_height} lines`), h("dt", {}, "Stream"), h("dd", {}, stream.stream_id)))];
}

// --- the account ---------------------------------------------------------------------------------------------------
async function account() {
  const [devices, sessions, streams, invoices] = await Promise.all(["/devices", "/sessions", "/playback", "/invoices?limit=12"].map((path) => api("GET", path)));
  const ended = (path) => async () => { await api("DELETE", path); await refresh(); await show(); };
  return [h("h1", {}, "Your account"), facts([["E-mail", me.account.email + (me.account.email_verified ? "" : " (not confirmed yet)")], ["Country", country(me.account.country) ?? me.account.country], ["Watching", me.profile?.name ?? "nobody yet"]]),
    h("p", { class: "acts" }, h("a", { class: "button", href: "#/profiles" }, "Change the profile"), h("a", { class: "button", href: "#/security" }, "Security"), h("a", { class: "button", href: "#/activate" }, "Sign in a television"), button("Sign out", async () => { await api("DELETE", "/sessions/current"); me = null; location.assign("#/"); })),
    h("h2", {}, "Playing now"), rows(streams.items, (one) => [h("span", {}, `${one.device.name ?? "A device"}: ${one.state} at ${clock(one.position_s)}`), button("Stop", ended(`/playback/${one.stream_id}`))], "Nothing plays."),
    h("h2", {}, "Devices"), rows(devices.items, (one) => [h("span", {}, one.name, one.current && " (this one)"), h("span", { class: "quiet" }, `last seen ${when(one.last_seen_at)}`), !one.current && button("Remove", ended(`/devices/${one.id}`))], "None."),
    h("h2", {}, "Sessions"), rows(sessions.items, (one) => [h("span", {}, one.device?.name ?? "A session", one.current && " (this one)"), h("span", { class: "quiet" }, `from ${one.city ?? one.address ?? "?"}, last used ${when(one.last_seen_at)}`), !one.current && button("End", ended(`/sessions/${one.id}`))], "None."),
    sessions.items.length > 1 && h("p", { class: "acts" }, button("End all others", ended("/sessions"))),
    h("h2", {}, "Invoices"), rows(invoices.items.filter((one) => one.number), (one) => [h("span", {}, `${one.number}: ${money(one, one.total_minor)}, ${one.status}`), h("a", { href: `v1/invoices/${one.id}/pdf` }, "PDF")], "None yet.")];
}

function enrolment({ secret, otpauth_uri }, act, ...fields) {
  return [h("p", {}, "Add this to an authenticator app, then type the code that it shows."),
    facts([["Secret", h("code", {}, secret)], ["Address", h("a", { href: otpauth_uri }, otpauth_uri)]]), h("br"),
    sheet("Turn it on", act, fields, input("Code that it shows", "code", digits))];
}
function reveal({ recovery_codes }, next) {
  turnTo("Your recovery codes", h("p", {}, "Each lets you in once where the app is lost. You see them this once: write them down."), h("ul", { class: "codes" }, recovery_codes.map((one) => h("li", {}, h("code", {}, one)))), next);
}
async function security() {
  const [app, keys] = await Promise.all([api("GET", "/account/totp"), api("GET", "/passkeys")]);
  const anew = (act) => async (given) => { await act(given); await show(); };
  const back = h("p", { class: "acts" }, button("Back to security", show));
  return [h("h1", {}, "Security"), h("h2", {}, "Password"), sheet("Change it", async (given, form) => {
    await api("PUT", "/account/password", given);
    form.reset();
    say("It is changed, and every other session is signed out.");
  }, input("Password now", "current_password", PROOFS.password[2]), input("New password", "password", fresh)),
  h("h2", {}, "Authenticator app"), h("p", { class: "quiet" }, app.active ? `It is asked for since ${when(app.since)}; ${app.recovery_codes_left} recovery codes are left.` : "With one, a password alone lets nobody in."),
  h("p", { class: "acts" }, app.active ? [button("New recovery codes", async () => reveal(await api("PUT", "/account/totp/recovery-codes"), back)), button("Remove the app", anew(() => api("DELETE", "/account/totp")))]
    : button("Add an app", async () => turnTo("Add an authenticator app", enrolment(await api("POST", "/account/totp"), async (given) => reveal(await api("PUT", "/account/totp", given), back)), back))),
  h("h2", {}, "Passkeys"), rows(keys.items, (one) => [h("span", {}, one.name), h("span", { class: "quiet" }, one.last_used_at ? `last used ${when(one.last_used_at)}` : `made ${when(one.created_at)}`), button("Remove", anew(() => api("DELETE", `/passkeys/${one.id}`)), { "aria-label": `Remove ${one.name}` })], "None yet."), h("br"),
  PASSKEYS ? sheet("Add a passkey", anew(async ({ name }) => {
    const options = PublicKeyCredential.parseCreationOptionsFromJSON(await api("POST", "/passkeys/options"));
    await api("POST", "/passkeys", { name, credential: await passkey("create", options) });
  }), input("Its name", "name", { value: browser().name, maxlength: 100 })) : h("p", { class: "quiet" }, "They are for a site with a name: say localhost in STREAMSVC_PUBLIC_URL, and open this page there.")];
}

// --- going about ---------------------------------------------------------------------------------------------------
const PAGES = { "": home, "sign-in": signIn, "sign-up": signUp, forgot, "reset-password": reset, plans, ...MAILED };
const OWN = { profiles, search, genre, title, buy, play, account, security, activate }; // only for who is signed in
let turn = 0;
async function show() {
  const here = ++turn;
  leave();
  leave = () => {};
  document.querySelector("dialog")?.close();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  const page = PAGES[name] ?? (me ? OWN[name] : OWN[name] && signIn);
  let nodes;
  try {
    nodes = page ? await page(id, new URLSearchParams(query)) : [h("h1", {}, "There is nothing here")];
  } catch (error) {
    nodes = [h("h1", {}, "That did not work"), h("p", { class: "bad" }, error.message), h("a", { class: "button", href: "#/" }, "Home")];
  }
  if (here !== turn) return; // another page was asked for meanwhile
  main.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
  $("search").hidden = !me;
  if (name !== "search" && document.activeElement !== field) field.value = "";
  const link = (to, text) => h("a", { href: `#/${to}`, "aria-current": to === name && "page" }, text);
  $("nav").replaceChildren(...(me ? [link("", "Home"), link("plans", "Plans"), link("account", me.profile?.name ?? "Account")] : [link("plans", "Plans"), link("sign-in", "Sign in")]));
  const heading = main.querySelector("h1");
  document.title = `${heading?.textContent ?? ""} – streamsvc`;
  if (document.activeElement === field && name === "search") return;
  scrollTo(0, 0);
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}
field.addEventListener("input", () => {
  clearTimeout(field.timer);
  const to = `#/search?q=${encodeURIComponent(field.value)}`;
  field.timer = setTimeout(() => (location.hash.startsWith("#/search") ? location.replace(to) : location.assign(to)), 180);
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); main.querySelector(".card")?.focus(); });
// A remote control has arrows alone: they go to the nearest card that way.
main.addEventListener("keydown", (event) => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  if (x === undefined || !event.target.matches(".card")) return;
  const from = event.target.getBoundingClientRect();
  const way = (to) => { const box = to.getBoundingClientRect(); return [(box.x - from.x) * x + (box.y - from.y) * y, Math.abs((box.x - from.x) * y) + Math.abs((box.y - from.y) * x)]; };
  const [nearest] = [...main.querySelectorAll(".card")].map((to) => [to, ...way(to)]).filter(([, far]) => far > 8).sort((a, b) => a[1] + 3 * a[2] - b[1] - 3 * b[2]);
  if (!nearest) return;
  event.preventDefault();
  nearest[0].focus();
});
addEventListener("hashchange", show);
await refresh();
await show();
