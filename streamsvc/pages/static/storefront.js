// Storefront over the API. Each page is a function that returns DOM nodes; the fragment of the URL selects the page.
const $ = (id) => document.getElementById(id);
const main = $("main"), searchField = $("q");
const ACCESS_MESSAGES = {
  subscription_required: "Choose a plan to watch this.",
  not_in_plan: "This is not included in your plan; upgrade to watch it.",
  profile_required: "Choose a profile first.",
  country_unknown: "We cannot determine which country you are in.",
  not_available_in_country: "This is not available in your country.",
  not_yet_available: "This is not available yet.",
  no_longer_available: "This is no longer available.",
  programme_restricted: "You may not watch the programme that is on now.",
};
let me = null; // the body of GET /v1/sessions/current, including its CSRF token; null while signed out
let isPublic = null; // whether the catalogue needs no sign-in; null: not known yet
let leavePage = () => {}; // clean-up of the current page, called when another page is opened

function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

async function api(method, path, body, options = {}) {
  const headers = { ...options.headers };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (me && method !== "GET") headers["X-CSRF-Token"] = me.csrf_token;
  const response = await fetch("v1" + path, { ...options, method, headers, body: JSON.stringify(body) });
  const payload = response.status === 204 ? null : await response.json();
  if (response.ok) return payload;
  if (payload.code === "reauthentication_required") {
    await reauthenticate();
    // A new idempotency key: this error is stored under the first one.
    return api(method, path, body, options.headers ? { ...options, ...idempotent() } : options);
  }
  if (payload.code === "not_signed_in" && me) location.assign((me = null, "#/sign-in"));
  throw Object.assign(new Error(errorText(payload)), payload);
}
const errorText = (problem) => (problem.code === "payment_failed" && DECLINE_MESSAGES[problem.decline_code]) || Object.values(problem.errors ?? {}).flat().join(" ") || problem.detail;
const idempotent = () => ({ headers: { "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join("") } });

function notify(text) {
  $("notice").textContent = text;
  clearTimeout(notify.timer);
  notify.timer = setTimeout(() => ($("notice").textContent = ""), 4000);
}
function render(nodes) {
  main.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
  main.querySelector("[data-mount]")?.dispatchEvent(new Event("mount")); // for what needs to be in the document first
}
function showStep(heading, ...children) { // the next step of a flow, without a new URL
  main.replaceChildren(h("h1", { tabindex: -1 }, heading), ...children.flat());
  main.firstChild.focus();
}
const formatMoney = (price, minor = price.amount_minor) => {
  const format = new Intl.NumberFormat(undefined, { style: "currency", currency: price.currency });
  return format.format(minor / 10 ** format.resolvedOptions().maximumFractionDigits);
};
const formatPosition = (s) => [s / 3600, (s / 60) % 60, s % 60].map((n) => String(Math.floor(n)).padStart(2, "0")).join(":");
const formatRuntime = (s) => (s >= 3600 ? `${Math.floor(s / 3600)} h ` : "") + `${Math.round((s % 3600) / 60)} min`;
const formatTime = (moment) => new Date(moment).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
const formatClock = (moment) => new Date(moment).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
const countryName = (code) => new Intl.DisplayNames(undefined, { type: "region", fallback: "none" }).of(code);

// --- components ----------------------------------------------------------------------------------------------------
function poster(text, seed = text) {
  const element = h("span", { class: "poster" }, text);
  element.style.setProperty("--hue", [...seed].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 360, 7));
  return element;
}
function card(title) {
  const { episode, progress } = title;
  const caption = episode ? `S${episode.season} E${episode.number}` : [title.year, title.runtime_s && formatRuntime(title.runtime_s)];
  return h("li", {}, h("a", { class: "card", href: `#/title/${title.id}` }, poster(title.title),
    progress && h("progress", { max: progress.duration_s ?? 1, value: progress.position_s, "aria-label": "watched" }),
    h("small", {}, [caption].flat().filter(Boolean).join(" · ") || " ")));
}
// A live channel: what is on, how far it is, and what comes next.
function channelCard({ id, name, number, now, next, title, starts_at, channel }) {
  if (channel) ({ id, name, number } = channel); // a programme that was found
  const progress = now && h("progress", { max: Date.parse(now.ends_at) - Date.parse(now.starts_at), value: Date.now() - Date.parse(now.starts_at), "aria-label": "elapsed" });
  return h("a", { class: "channel card", href: `#/channel/${id}` }, h("strong", {}, [number, name].filter(Boolean).join(" ")),
    title ? h("span", {}, `${Date.parse(starts_at) > Date.now() ? formatTime(starts_at) : "Now"}: ${title}`) : now !== undefined && h("span", {}, now?.title ?? "No programme is known."), progress,
    next && h("small", {}, `${formatClock(next.starts_at)} ${next.title}`));
}
const channelList = (channels) => h("ul", { class: "channels" }, channels.map((channel) => h("li", {}, channelCard(channel))));
const titleRow = (titles) => h("ul", { class: "title-row" }, titles.map(card));
function pagedGrid(path, firstPage, list = h("ul", { class: "grid" }), item = card) {
  list.append(...firstPage.items.map(item));
  let cursor = firstPage.next_cursor;
  const more = button("Show more", async () => {
    const page = await catalog(`${path}&cursor=${encodeURIComponent(cursor)}`);
    const firstNew = list.children.length;
    list.append(...page.items.map(item));
    list.children[firstNew]?.querySelector("a").focus();
    more.hidden = !(cursor = page.next_cursor);
  });
  more.hidden = !cursor;
  return [list, h("p", { class: "actions" }, more)];
}
function button(text, action, attributes = {}) {
  const element = h("button", { type: "button", ...attributes, onclick: () => runDisabled(element, action) }, text);
  return element;
}
async function runDisabled(control, action) { // disables the control while the action runs
  control.disabled = true;
  try { await action(); } catch (error) { notify(error.message); } finally { control.disabled = false; }
}
const checkbox = (label, name) => h("label", { class: "choice" }, h("input", { type: "checkbox", name }), label);
const input = (label, name, attributes = {}) => h("label", {}, label, h("input", { name, required: true, ...attributes }));
function form(label, submit, ...fields) {
  const alert = h("p", { class: "error", role: "alert" });
  const submitButton = h("button", { class: "primary" }, label);
  return h("form", { class: "stacked", onsubmit: async (event) => {
    event.preventDefault();
    submitButton.disabled = true;
    alert.textContent = "";
    try { await submit(Object.fromEntries(new FormData(event.target)), event.target); }
    catch (error) { alert.textContent = error.message; }
    submitButton.disabled = false;
  } }, fields, alert, h("p", { class: "actions" }, submitButton));
}
const itemList = (items, render, emptyText) => (items.length ? h("ul", { class: "list" }, items.map((item) => h("li", {}, render(item)))) : h("p", { class: "muted" }, emptyText));
const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));

// --- sign-in and sign-up -------------------------------------------------------------------------------------------
async function completeSignIn(payload, to) {
  localStorage.device = payload.session.device.id;
  me = payload.csrf_token ? payload : null;
  await refreshSession();
  location.assign(sessionStorage.gift ? "#/gift" : to ?? (me.profile && me.profiles.length === 1 ? "#/" : "#/profiles"));
}
async function refreshSession() {
  me = await api("GET", "/sessions/current").catch((error) => { if (error.status !== 401) throw error; return null; });
  if (me?.profile) await moveOwnList();
}
const thisDevice = () => ({ id: localStorage.device, name: /Mobile|Android|iPhone/.test(navigator.userAgent) ? "Phone browser" : "Web browser", kind: "web" });
const passwordInput = { type: "password", minlength: 8, maxlength: 128 };

const newPasswordInput = { ...passwordInput, autocomplete: "new-password" };
const codeInput = { inputmode: "numeric", autocomplete: "one-time-code" };
const FACTORS = { // by name in the API: the field's label, its name in a sentence, the input's attributes
  password: ["Your password", "your password", { ...passwordInput, minlength: 1, autocomplete: "current-password" }],
  totp: ["Code from your authenticator app", "your authenticator app", codeInput],
  recovery_code: ["Recovery code", "a recovery code", { autocomplete: "off" }],
  email_code: ["Code that we just emailed you", "an emailed code", codeInput],
};
// WebAuthn needs a host name; it does not work on an IP address.
const HAS_PASSKEYS = window.PublicKeyCredential?.parseCreationOptionsFromJSON && !/^[\d.]+$|:/.test(location.hostname);
const requestPasskey = async (operation, publicKey) => (await navigator.credentials[operation]({ publicKey }).catch((error) => {
  throw error.name === "NotAllowedError" ? new Error("No passkey was used.") : error;
})).toJSON();

// A field for one of the factors that an error lists in `methods`, with buttons to switch to the others.
function factorField(trustCheckbox) {
  const element = h("div", { class: "factor" });
  element.showMethods = ([name, ...others]) => {
    const [label, , attributes] = FACTORS[name];
    const switchTo = (other) => button(`Use ${FACTORS[other][1]} instead`, () => element.showMethods([other, name, ...others.filter((method) => method !== other)]));
    element.replaceChildren(...[input(label, name, attributes), name !== "email_code" && trustCheckbox, ...others.map(switchTo)].filter(Boolean));
    element.querySelector("input").focus();
  };
  return element;
}
async function reauthenticate() {
  const path = "/sessions/current/reauthentication";
  // Emails a code if the account has neither password nor authenticator app; otherwise the error lists the methods.
  const { methods } = await api("POST", `${path}/email-code`).catch((error) => { if (error.methods) return error; throw error; });
  await new Promise((resolve, reject) => {
    const factor = factorField();
    const confirmation = form("Continue", async (values) => { await api("POST", path, values); resolve(); dialog.close(); }, factor);
    const dialog = h("dialog", { "aria-labelledby": "confirm-identity", onclose: () => { dialog.remove(); reject(new Error("Nothing was changed.")); } },
      h("h2", { id: "confirm-identity" }, "Confirm that it is you"), h("p", { class: "muted" }, "This action requires that you have confirmed your identity within the last ten minutes."), confirmation);
    confirmation.lastChild.append(button("Cancel", () => dialog.close()));
    document.body.append(dialog);
    dialog.showModal();
    factor.showMethods(methods ?? ["email_code"]);
  });
}

// The last step of every way to sign in. If the API requires a second factor, the form asks for it in place.
function signInForm(path, credentials, ...fields) {
  const factor = factorField(checkbox("Trust this device: do not ask for a code here again", "trust_device"));
  return form("Sign in", async ({ trust_device, ...values }) => {
    const body = { ...credentials, ...values, trust_device: trust_device === "on", cookie: true, device: thisDevice() };
    await api("POST", path, body).then((payload) => completeSignIn(payload), (error) => { if (error.methods) factor.showMethods(error.methods); else throw error; });
  }, fields, factor);
}
function signIn(_, query) {
  if (query.has("token")) return [h("h1", {}, "Sign in with your link"), h("p", { class: "muted" }, "The link works once, in the browser where you requested it."), signInForm("/sessions/magic-link", { token: query.get("token") })];
  const email = input("Email", "email", { type: "email", autocomplete: "username" });
  const sendLink = async () => {
    if (!email.lastChild.reportValidity()) return;
    await api("POST", "/magic-links", { email: email.lastChild.value, cookie: true });
    showStep("Check your email", h("p", {}, `If ${email.lastChild.value} has an account here, you will receive a link. Open it in this browser.`));
  };
  const usePasskey = async () => {
    const options = await api("POST", "/sessions/passkey-options", { cookie: true });
    const passkeyForm = signInForm("/sessions/passkey", { credential: await requestPasskey("get", PublicKeyCredential.parseRequestOptionsFromJSON(options)) });
    showStep("Sign in with a passkey", passkeyForm, h("p", {}, button("Sign in another way", show)));
    passkeyForm.requestSubmit();
  };
  return [h("h1", {}, "Sign in"), signInForm("/sessions", {}, email, input("Password", "password", FACTORS.password[2])),
    h("p", { class: "actions" }, button("Email me a link instead", sendLink), HAS_PASSKEYS && button("Use a passkey", usePasskey)),
    h("p", {}, "New here? ", h("a", { href: "#/sign-up" }, "Create an account"), " · ", h("a", { href: "#/forgot" }, "Forgot your password?"))];
}
function signUp() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  const locale = navigator.language;
  return [h("h1", {}, "Create an account"), form("Create account", async (values) => {
    const payload = await api("POST", "/accounts", { ...values, country: values.country.toUpperCase(), time_zone: timeZone, locale, cookie: true, device: thisDevice() });
    if (payload.session) await completeSignIn(payload, "#/plans");
    else notify("Check your email to continue.");
  }, input("Your name", "name", { autocomplete: "given-name", maxlength: 60 }), input("Email", "email", { type: "email", autocomplete: "username" }),
  input("Password", "password", newPasswordInput),
  input("Country (two-letter code)", "country", { value: new Intl.Locale(locale).region ?? "DE", pattern: "[A-Za-z]{2}", maxlength: 2, autocomplete: "country" })),
  h("p", {}, "Already have an account? ", h("a", { href: "#/sign-in" }, "Sign in"))];
}
const forgotPassword = () => [h("h1", {}, "Forgot your password?"), form("Send me a link", async (values) => {
  await api("POST", "/password-resets", values);
  notify("If this account exists, you will receive an email.");
}, input("Email", "email", { type: "email", autocomplete: "username" }))];
const goToSignIn = () => (location.assign("#/sign-in"), notify("Password saved. Sign in."));
const resetPassword = (_, query) => [h("h1", {}, "Set a new password"), form("Save password", async ({ days, ...values }) => {
  const since = days && { revoke_access_since: new Date(Date.now() - days * 86_400_000 + 60_000).toISOString() };
  await api("PUT", "/password-resets", { ...values, ...since, token: query.get("token") });
  goToSignIn();
}, input("New password", "password", newPasswordInput),
h("label", {}, "Did somebody else use your account?", h("select", { name: "days" },
  h("option", { value: "" }, "No, it was only me"), h("option", { value: "1" }, "Yes: also remove what was added within the last day"), h("option", { value: "7" }, "Yes: also remove what was added within the last week"))))];
const ACCESS_NAMES = { session: "Sign-in", device: "Device", device_approval: "Approved TV", passkey: "Passkey", identity: "Sign-in with", authenticator: "Authenticator app", recovery_codes: "Recovery codes", username: "Username", phone: "Telephone number", email_change: "Change of the email address", password_change: "Change of the password" };
const CHANGES = ["email_change", "password_change"];
// For links in emails that cannot be requested again.
const useMailedToken = (...request) => api(...request).catch((error) => {
  if (error.code === "token_invalid") error.message = "This link is unknown, already used or expired. Contact support, or reset your password.";
  throw error;
});
// The target of a link that removes what an intruder added: it shows what will go and what stays before it sends anything.
const removalPage = (heading, label, path, result) => (_, query) => {
  const token = query.get("token"), preview = h("div", { role: "status" });
  const line = ({ kind, name, created_at }) => `${ACCESS_NAMES[kind]}${name ? ` “${name}”` : ""}, ${formatTime(created_at)}`;
  const show = button("Show what will be removed", async () => {
    const { items } = await useMailedToken("POST", "/access-revocation-previews", { token });
    const access = items.filter(({ kind }) => !CHANGES.includes(kind)); // a change of the past neither goes nor stays
    const part = (title, revoked) => [h("h2", {}, title), itemList(access.filter((item) => item.revoked === revoked), line, "Nothing.")];
    preview.replaceChildren(...part("Will be removed", true), h("p", {}, "The password stops working; you will set a new one."), ...part("Stays", false));
  });
  return [h("h1", {}, heading), h("p", {}, show), preview, form(label, async () => {
    await useMailedToken("PUT", path, { token });
    showStep(heading, h("p", {}, result), h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/" }, "Continue")));
  })];
};
const recoverAccount = (_, query) => [h("h1", {}, "Recover your account"), form("Save password", async (values) => {
  await useMailedToken("PUT", "/account-recoveries", { ...values, token: query.get("token") });
  goToSignIn();
}, input("New password", "password", newPasswordInput))];
// The target of a link in an email. It sends nothing before a click, because some mail programs open links on their own.
const tokenPage = (heading, label, path, result, send = useMailedToken) => (_, query) => [h("h1", {}, heading), form(label, async () => {
  await send("PUT", path, { token: query.get("token") });
  showStep(heading, h("p", {}, result), h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/" }, "Continue")));
})];
const EMAIL_PAGES = {
  "confirm-email": tokenPage("Confirm your email address", "Confirm", "/email-verifications", "Your email address is confirmed. If you signed up on another device, we emailed you a link to set a password.", api),
  "undo-email-change": removalPage("Restore your previous email address", "Undo the change", "/email-verifications", "Your previous address is restored, and all sessions are signed out. We emailed you a link to set a new password."),
  "not-my-device": removalPage("Sign out a device that is not yours", "Sign it out", "/devices/disowned", "The device is signed out, and what was added since is removed. We emailed you a link to set a new password."),
  "not-me": removalPage("Remove what you did not add", "Remove it", "/access-revocations", "It is removed. We emailed you a link to set a new password."),
  "cancel-recovery": tokenPage("Cancel the recovery of your account", "Cancel it", "/account-recovery-cancellations", "The recovery is canceled. Nothing has changed."),
  "recover-account": recoverAccount,
  "operator-invitation": invitation,
  "take-profile": (_, query) => [h("h1", {}, "Take a profile with you"), me ? form("Add it to my account", async () => {
    await api("POST", "/profile-transfers", { token: query.get("token") });
    await refreshSession();
    location.assign("#/profiles");
  }) : h("p", {}, "Sign in or create an account, then open the link in the email again.")],
  "restore-account": tokenPage("Restore your account", "Restore account", "/account-restorations", "Your account is restored; sign in as usual."),
};
function invitation(_, query) {
  const token = query.get("token");
  return [h("h1", {}, "Operate streamsvc"), form("Start", async () => {
    const invited = await api("POST", "/admin/invitations", { token });
    showStep(`Welcome, ${invited.name}`, authenticatorSetup(invited, async (values) => {
      showRecoveryCodes(await api("PUT", "/admin/invitations", { ...values, token }), h("p", {}, `${invited.email} can now sign in at POST /v1/admin/sessions with the next code from the app.`));
    }, input("New password", "password", newPasswordInput)));
  })];
}
function activate(_, query) {
  const request = h("div", { role: "status" });
  return [h("h1", {}, "Sign in a TV"), form("Find the device", async ({ code }) => {
    const { device, city, address, created_at } = await api("POST", "/device-code-lookups", { user_code: code });
    const decide = (approve) => async () => {
      await api("PUT", `/device-codes/${encodeURIComponent(code)}/decision`, { approve });
      request.replaceChildren(approve ? "The device is signed in." : "The request was denied.");
    };
    request.replaceChildren(h("p", {}, `“${device.name}” requested to sign in from ${city ?? address ?? "an unknown location"} at ${formatTime(created_at)}. Is this the device in front of you?`),
      h("p", { class: "actions" }, button("Approve", decide(true), { class: "primary" }), button("Deny", decide(false))));
  }, input("Code on the TV screen", "code", { value: query.get("code") ?? "", autocomplete: "off" })), request];
}

function profiles() {
  const select = async (profile) => {
    const pin = profile.has_pin ? prompt(`PIN for ${profile.name}`) : undefined;
    if (pin === null) return;
    await api("PATCH", "/sessions/current", { profile_id: profile.id, ...(pin && { pin }) });
    await refreshSession();
    location.assign("#/");
  };
  return [h("h1", {}, "Who is watching?"),
    h("div", { class: "profiles" }, me.profiles.map((profile) => button([poster(profile.name.slice(0, 1).toUpperCase(), profile.name), profile.name, profile.has_pin && " (PIN)"], () => select(profile), { "aria-current": profile.id === me.profile?.id && "true" }))),
    h("details", {}, h("summary", {}, "Add a profile"), h("br"), form("Add profile", async ({ name, kids }) => {
      await api("POST", "/profiles", { name, kids: kids === "on", max_age: kids === "on" ? 6 : null }, idempotent());
      await refreshSession();
      await show();
    }, input("Name", "name", { maxlength: 60 }), checkbox("Kids' profile (up to age 6)", "kids")))];
}

// --- catalog -------------------------------------------------------------------------------------------------------
// A visitor who is signed out says in which country they are; the service ignores it if its proxy knows better.
function catalog(path) {
  const country = me ? null : new Intl.Locale(navigator.language).region;
  return api("GET", `/catalog${path}` + (country ? `${path.includes("?") ? "&" : "?"}country=${country}` : ""));
}
const canBrowse = async () => me != null || (isPublic ??= await catalog("/genres").then(() => true, (error) => { if (error.status !== 401) throw error; return false; }));
// The list of a visitor who is signed out: [{title_id, added_at}], the newest first. The account gets it at sign-in.
function ownList() {
  try { return JSON.parse(localStorage.ownList).filter(({ title_id, added_at }) => title_id && added_at); } catch { return []; }
}
const saveOwnList = (items) => (localStorage.ownList = JSON.stringify(items.slice(0, 100)));
const isOnOwnList = (id) => ownList().some(({ title_id }) => title_id === id);
function toggleOwnList(id) {
  const others = ownList().filter(({ title_id }) => title_id !== id);
  saveOwnList(isOnOwnList(id) ? others : [{ title_id: id, added_at: new Date().toISOString() }, ...others]);
}
async function moveOwnList() { // again at the next start if it fails
  const items = ownList();
  if (items.length) await api("POST", `/profiles/${me.profile.id}/watchlist`, { items }).then(() => localStorage.removeItem("ownList"), () => {});
}
const catalogRows = ([rows, genres]) => [rows.items.map((row) => [h("h2", {}, row.title), titleRow(row.items)]),
  h("h2", {}, "Genres"), h("p", { class: "actions" }, genres.items.map(({ code, name }) => h("a", { class: "button", href: `#/genre/${code}` }, name)))];
async function loadCatalogRows() {
  const [rows, genres, channels] = await Promise.all([catalog("/home"), catalog("/genres"), catalog("/channels?limit=12")]);
  return [channels.items.length > 0 && [h("h2", {}, "On now"), h("div", { class: "channel-row" }, channels.items.map(channelCard)), h("p", {}, h("a", { href: "#/channels" }, "All channels"))], catalogRows([rows, genres])];
}
async function home() {
  if (me) return [h("h1", { class: "visually-hidden" }, "Home"), await loadCatalogRows()];
  const hero = h("div", { class: "hero" }, h("h1", {}, "Thousands of films. One small API."),
    h("p", { class: "muted" }, "This page is a demo of streamsvc. It uses the same API that you can call."),
    h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/sign-up" }, "Create an account"), h("a", { class: "button", href: "#/sign-in" }, "Sign in"), h("a", { class: "button", href: "docs" }, "See the API")));
  if (!(await canBrowse())) return [hero, await plans()];
  const ids = ownList().map(({ title_id }) => title_id).join();
  const own = ids && (await catalog(`/titles?ids=${ids}&limit=100`)).items;
  return [hero, own?.length > 0 && [h("h2", {}, "Your list"), titleRow(own)], await loadCatalogRows(), await plans()];
}
async function genre(code) {
  const path = `/titles?genre=${encodeURIComponent(code)}&sort=-popularity&limit=30`;
  return [h("h1", {}, code.replace(/^./, (c) => c.toUpperCase())), pagedGrid(path, await catalog(path))];
}
async function channels() {
  const path = "/channels?limit=30", page = await catalog(path);
  if (!page.items.length) return [h("h1", {}, "Channels"), h("p", { class: "muted" }, "There are no channels for you here.")];
  return [h("h1", {}, "Channels"), pagedGrid(path, page, h("ul", { class: "channels" }), (channel) => h("li", {}, channelCard(channel)))];
}
async function channel(id) {
  const [details, guide] = await Promise.all([catalog(`/channels/${id}`), catalog(`/channels/${id}/programmes?limit=20`)]);
  const { playable, reason, starts_at } = details.availability;
  return [h("h1", {}, [details.number, details.name].filter(Boolean).join(" ")),
    h("p", { class: "muted" }, [details.group, details.age_rating?.label, details.genres.join(", ")].filter(Boolean).join(" · ")),
    details.now && h("p", {}, `Now: ${details.now.title}, until ${formatClock(details.now.ends_at)}`),
    h("p", { class: "actions" }, playable ? h("a", { class: "button primary", href: `#/play/${id}` }, "Watch live") : accessMessage(reason, starts_at)),
    h("h2", {}, "Programme"), itemList(guide.items, ({ starts_at, title, subtitle, synopsis }) => [h("span", {}, h("strong", {}, formatClock(starts_at)), ` ${title}`, subtitle && `: ${subtitle}`), synopsis && h("span", { class: "muted" }, synopsis)], "No programmes are known.")];
}
// Why something cannot be played, and the way to the plans if one of them would help.
const accessMessage = (reason, starts_at) => [h("span", { class: "error" }, ACCESS_MESSAGES[reason] ?? reason, reason === "not_yet_available" && starts_at && ` It will be available on ${formatTime(starts_at)}.`),
  ["subscription_required", "not_in_plan"].includes(reason) && h("a", { class: "button primary", href: "#/plans" }, "See plans")];
async function search(_, query) {
  const q = query.get("q") ?? "";
  if (searchField.value !== q && document.activeElement !== searchField) searchField.value = q;
  const path = `/search?q=${encodeURIComponent(q)}&limit=30`;
  const [results, live] = await Promise.all([catalog(path), catalog(`/search?q=${encodeURIComponent(q)}&kinds=channel,programme&limit=12`)]);
  return [h("h1", {}, results.items.length || live.items.length ? `Results for “${q}”` : `No results for “${q}”`), results.items.length > 0 && pagedGrid(path, results),
    live.items.length > 0 && [h("h2", {}, "Channels and programmes"), channelList(live.items)]];
}
async function title(id) {
  const [details, states] = await Promise.all([catalog(`/titles/${id}?expand=seasons,similar`), me?.profile ? api("GET", `/profiles/${me.profile.id}/state?ids=${id}`) : { items: [] }]);
  let inWatchlist = me ? states.items[0]?.in_watchlist : isOnOwnList(id);
  const { playable, reason, starts_at } = details.availability;
  const resumeAt = states.items[0]?.progress?.resume_s;
  const watchlist = button(inWatchlist ? "In your watchlist" : "Add to watchlist", async () => {
    await (me ? api(inWatchlist ? "DELETE" : "PUT", `/profiles/${me.profile.id}/watchlist/${id}`) : toggleOwnList(id));
    watchlist.textContent = (inWatchlist = !inWatchlist) ? "In your watchlist" : "Add to watchlist";
    watchlist.setAttribute("aria-pressed", inWatchlist);
  }, { "aria-pressed": String(!!inWatchlist) });
  const people = (role) => details.credits.filter((credit) => credit.role === role).slice(0, 6).map((credit) => credit.name).join(", ");
  return [h("article", { class: "title" }, poster(details.title), h("div", {}, h("h1", {}, details.title),
    h("p", { class: "muted" }, [details.year, details.runtime_s && formatRuntime(details.runtime_s), details.age_rating?.label, details.genres.join(", ")].filter(Boolean).join(" · ")),
    details.synopsis && h("p", {}, details.synopsis),
    h("p", { class: "actions" }, playable && details.kind === "movie" && h("a", { class: "button primary", href: `#/play/${id}` }, resumeAt ? `Resume at ${formatPosition(resumeAt)}` : "Play"),
      !playable && accessMessage(reason, starts_at),
      (!me || me.profile) && watchlist),
    facts([["Cast", people("actor")], ["Directed by", people("director")], ["Written by", people("writer")]].filter(([, names]) => names)),
    (details.seasons ?? []).map((season) => [h("h2", {}, season.title ?? `Season ${season.number}`), h("ol", { class: "list" }, season.episodes.map((episode) =>
      h("li", {}, h("span", {}, `${episode.number}. ${episode.title ?? ""}`), playable && h("a", { class: "button", href: `#/play/${episode.id}`, "aria-label": `Play episode ${episode.number}` }, "Play"))))]))),
  details.similar?.length > 0 && [h("h2", {}, "More like this"), titleRow(details.similar)]];
}

// --- plans and checkout --------------------------------------------------------------------------------------------
async function plans() {
  const { items } = await api("GET", "/plans" + (me ? `?country=${me.account.country}` : ""));
  const subscription = me?.subscription?.status === "canceled" ? null : me?.subscription;
  const currencies = [...new Set(items.flatMap((plan) => plan.prices.map((price) => price.currency)))].sort();
  const localCurrency = { US: "USD", GB: "GBP", JP: "JPY" }[me?.account.country ?? new Intl.Locale(navigator.language).region] ?? "EUR";
  const offer = (price) => [h("p", {}, h("span", { class: "price" }, formatMoney(price)), ` per ${price.interval}`, price.trial_days > 0 && `, the first ${price.trial_days} days free`),
    price.id === subscription?.price_id ? h("p", { class: "muted" }, "Your current plan") : me && h("a", { class: "button", href: `#/buy/${price.id}` }, subscription ? "Switch to this plan" : "Choose this plan")];
  const list = h("ul", { class: "plans" });
  const fill = (currency) => list.replaceChildren(...items.map((plan) => [plan, plan.prices.filter((price) => price.currency === currency)]).filter(([, prices]) => prices.length).map(([{ name, description, features }, prices]) => h("li", {},
    h("h2", {}, name), h("p", { class: "muted" }, description), h("p", {}, `Streams at once: ${features.max_streams}, up to ${features.max_height}p${features.ads ? ", with ads" : ""}`), prices.map(offer))));
  const select = h("select", { onchange: () => fill(select.value) }, currencies.map((currency) => h("option", { selected: currency === localCurrency }, currency)));
  fill(select.value);
  return [h("h1", {}, subscription ? "Your plan" : "Choose a plan"), subscription && subscriptionStatus(subscription, items.find((plan) => plan.code === subscription.plan)?.name ?? subscription.plan), h("p", { class: "actions" }, h("label", {}, "Currency ", select)), list];
}
function subscriptionStatus({ id, status, cancel_at, period }, planName) {
  const change = (text, action) => button(text, async () => { await action(); await refreshSession(); await show(); });
  return h("p", { class: "actions" }, h("span", {}, `${planName}, ${status.replace("_", " ")}`, cancel_at ? `, ends on ${cancel_at}` : period && `, next billing date ${period.end}`),
    cancel_at ? change("Keep subscription", () => api("DELETE", `/subscriptions/${id}/cancellation`)) : change("Cancel subscription", () => api("POST", `/subscriptions/${id}/cancellation`, { when: "period_end" }, idempotent())));
}
async function buy(priceId, _, chosenCard) {
  const { subscription } = me;
  const order = subscription ? { price_id: priceId, when: "auto" } : { price_id: priceId };
  const [config, { items: cards }, preview] = await Promise.all([api("GET", "/payment-config"), api("GET", "/payment-methods"),
    api("POST", "/invoice-previews", subscription ? { ...order, subscription_id: subscription.id } : order)]);
  const newCard = config.publishable_key ? stripeCard(config, preview.currency, priceId) : config.provider === "sandbox" ? sandboxCard() : null;
  const status = h("p", { class: "muted", role: "status" });
  const placeOrder = () => api("POST", subscription ? `/subscriptions/${subscription.id}/plan-change` : "/subscriptions", order, idempotent());
  const checkout = async ({ card, ...values }) => {
    status.textContent = "Contacting your bank. This can take a moment.";
    let added = null;
    try {
      if (!card || card === NEW_CARD) added = await newCard.add(values);
      await payWith(added?.id ?? card, cards, () => authenticated(config, placeOrder));
    } catch (error) {
      if (!added) throw error;
      render(await buy(priceId, _, added.id)); // the card is saved: it need not be entered again
      main.querySelector("[role=alert]").textContent = error.message;
      main.querySelector("button.primary").focus();
      return;
    } finally { status.textContent = ""; }
    await refreshSession();
    notify("Done. Enjoy!");
    location.assign("#/");
  };
  return [h("h1", {}, "Checkout"), h("div", { class: "panel" }, facts([...preview.lines.map((line) => [line.description, `${line.period?.start ?? ""} – ${line.period?.end ?? ""}: ${formatMoney(preview, line.amount_minor)}`]),
    ["Due now", formatMoney(preview, preview.amount_due_minor)], ...(preview.next_renewal ? [["Next renewal", `${formatMoney(preview, preview.next_renewal.total_minor)} on ${preview.next_renewal.date}`]] : [])])),
  h("br"), newCard || cards.length ? form(subscription ? "Change plan" : "Subscribe", checkout, cardChoice(cards, newCard, chosenCard), status) : h("p", { class: "error" }, "Payments are not set up here yet.")];
}

// --- gifts ---------------------------------------------------------------------------------------------------------
const GIFT_MESSAGES = { // by the reason of gift_code_invalid
  unknown: "We do not know this code. Compare it with the one that you were sent.",
  redeemed: "This gift has already been redeemed. A code can be used once.",
  revoked: "This gift was taken back, because its purchase was refunded or disputed.",
  expired: "This gift has expired.",
};
// The target of the link in a gift mail. Whoever has to sign in first comes back to it with the code.
function gift(_, query) {
  const code = query.get("code") ?? sessionStorage.gift ?? "";
  if (!me) {
    sessionStorage.gift = code;
    return [h("h1", {}, "Redeem a gift"), h("p", {}, "Sign in, or create an account, to redeem your gift. No card is needed."),
      h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/sign-up" }, "Create an account"), h("a", { class: "button", href: "#/sign-in" }, "Sign in to your account"))];
  }
  delete sessionStorage.gift;
  return [h("h1", {}, "Redeem a gift"), form("Redeem", async (values) => {
    const redeemed = await api("POST", "/gift-redemptions", { code: values.code.trim().toUpperCase() }, idempotent()).catch((error) => {
      if (error.code === "gift_code_invalid") error.message = GIFT_MESSAGES[error.reason] ?? error.message;
      if (error.code === "gift_code_currency_mismatch") error.message = `This gift is in ${error.currency}, and your account is billed in another currency. The code was not used: somebody else can redeem it.`;
      throw error;
    });
    await refreshSession();
    showStep("Your gift is redeemed", ...(redeemed.subscription_id ? [h("p", {}, `Your subscription is paid for until ${me.subscription.period.end}.`), h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/" }, "Start watching"))]
      : [h("p", {}, `${formatMoney(redeemed)} of credit is in your account. It pays for your plan before a card does.`), h("p", { class: "actions" }, h("a", { class: "button primary", href: "#/plans" }, "See the plans"))]));
  }, input("Gift code", "code", { value: code, autocomplete: "off", spellcheck: "false", maxlength: 40 }))];
}

// --- cards and payments --------------------------------------------------------------------------------------------
const NEW_CARD = "new";
const DECLINE_MESSAGES = {
  insufficient_funds: "The card does not have enough money for this. Use another card.",
  expired_card: "The card has expired. Use another card.",
  incorrect_cvc: "The security code of the card is wrong. Check it, then try again.",
  payment_method_required: "Add a card first.",
  authentication_failed: "Your bank did not confirm the payment. Try again, or use another card.",
};
for (const code of ["payment_intent_authentication_failure", "setup_intent_authentication_failure", "authentication_abandoned", "authentication_required"]) DECLINE_MESSAGES[code] = DECLINE_MESSAGES.authentication_failed;
const cardName = ({ brand, last4, exp_month, exp_year }) => `${brand ? brand[0].toUpperCase() + brand.slice(1) : "Card"} ending in ${last4 ?? "?"}` + (exp_year ? `, valid until ${String(exp_month).padStart(2, "0")}/${exp_year}` : "");

// The saved cards and a new one. Chosen is the given card, else the default one.
function cardChoice(cards, newCard, chosenCard) {
  if (!cards.length) { newCard.fields.setAttribute("data-mount", ""); return newCard.fields; }
  const chosen = cards.find((card) => card.id === chosenCard) ?? cards.find((card) => card.is_default);
  const choices = cards.map((card) => [card.id, cardName(card)]);
  if (newCard) { choices.push([NEW_CARD, "Another card"]); newCard.fields.hidden = true; }
  const choose = ({ target }) => {
    if (!newCard) return;
    newCard.fields.hidden = target.value !== NEW_CARD;
    if (target.value === NEW_CARD) newCard.show();
  };
  return [h("fieldset", { onchange: choose }, h("legend", {}, "Pay with"), choices.map(([value, text], index) => h("label", { class: "choice" }, h("input", { type: "radio", name: "card", value, checked: chosen ? value === chosen.id : index === 0 }), text))), newCard?.fields];
}
function sandboxCard() {
  const cards = { pm_card_visa: "Visa: payment succeeds", pm_card_chargeDeclined: "Card: payment is declined", pm_card_authenticationRequired: "Card: bank requires authentication" };
  const fields = h("label", {}, "Sandbox cards (no money moves)", h("select", { name: "token" }, Object.entries(cards).map(([value, text]) => h("option", { value }, text))));
  return { fields, show: () => {}, add: ({ token }) => api("POST", "/payment-methods", { token }, idempotent()) };
}
function stripeCard(config, currency, priceId) {
  const message = h("p", { class: "muted", role: "status" }), box = h("div", { class: "card-form" });
  let opening = null, opened = null;
  const show = async () => {
    if (opening) return;
    message.replaceChildren("Loading the payment form…");
    try {
      opening = import("./payment.js").then(({ createCardForm }) => createCardForm(config, currency, box));
      opened = await opening;
      message.replaceChildren();
    } catch (error) {
      opening = null;
      message.replaceChildren(error.message, " ", button("Try again", show));
    }
  };
  const fields = h("div", { role: "group", "aria-label": "Card", onmount: show }, message, box);
  const add = async () => {
    if (!opened) throw new Error("The payment form is not loaded yet.");
    const returnUrl = `${location.origin}${location.pathname}#/payment-return/${priceId}`;
    try {
      const setup_id = await opened.confirm(() => api("POST", "/payment-methods/setup"), returnUrl);
      return await api("POST", "/payment-methods", { setup_id }, idempotent());
    } catch (error) { throw Object.assign(error, { message: DECLINE_MESSAGES[error.decline_code] ?? error.message }); }
  };
  return { fields, show, add };
}

// Makes the card the default, which the order charges. A declined card does not stay the default.
async function payWith(methodId, cards, order) {
  const previous = cards.find((card) => card.is_default);
  const setDefault = (id) => api("PUT", `/payment-methods/${id}/default`);
  if (methodId !== previous?.id) await setDefault(methodId);
  try { return await order(); } catch (error) {
    if (previous && methodId !== previous.id) await setDefault(previous.id).catch(() => {});
    throw error;
  }
}
// Sends a request that charges. If the bank wants to see the customer, opens its window, then asks what came of it.
async function authenticated(config, request) {
  try { return await request(); } catch (problem) {
    if (problem.code !== "authentication_required" || problem.next_action?.type !== "stripe") throw problem;
    const { authenticate } = await import("./payment.js");
    await authenticate(config, problem.next_action.client_secret);
    await requirePaid(await api("POST", `/invoices/${problem.invoice_id}/payments/${problem.payment_id}/refresh`));
  }
}
function requirePaid({ status, decline_code }) {
  if (status === "failed" || status === "requires_action") throw new Error(DECLINE_MESSAGES[decline_code ?? "authentication_failed"] ?? "The payment was declined; try another card.");
  if (status !== "succeeded") throw new Error("The outcome of the payment is not known yet. You will receive an email.");
}
// Where the bank's page sends the customer back to. Stripe adds its parameters before the fragment.
async function paymentReturn(priceId) {
  const query = new URLSearchParams(location.search);
  history.replaceState(null, "", location.pathname + location.hash); // the client secret does not stay in the history
  const result = (heading, to, label, text) => [h("h1", {}, heading), text && h("p", { class: "error", role: "alert" }, text), h("p", { class: "actions" }, h("a", { class: "button primary", href: to }, label))];
  const checkout = priceId ? `#/buy/${priceId}` : "#/plans";
  try {
    if (query.has("setup_intent")) {
      await api("POST", "/payment-methods", { setup_id: query.get("setup_intent") }, idempotent());
      return result("Your card is saved", checkout, "Continue to checkout");
    }
    const { items } = await api("GET", "/invoices?limit=12");
    const waiting = items.flatMap(({ payments }) => payments).filter(({ status }) => ["requires_action", "unknown", "pending"].includes(status));
    for (const { id, invoice_id } of waiting) requirePaid(await api("POST", `/invoices/${invoice_id}/payments/${id}/refresh`));
    await refreshSession();
    return result(waiting.length ? "Your payment succeeded" : "No payment is waiting", "#/", "Continue");
  } catch (error) { return result("It did not work", checkout, "Back to checkout", error.message); }
}

// --- playback ------------------------------------------------------------------------------------------------------
async function play(id, query) {
  let stream;
  try {
    stream = await api("POST", "/playback", { item_id: id, ...(query.get("replace") && { replace: query.get("replace") }) }, idempotent());
  } catch (error) {
    if (!error.code || error.code === "not_signed_in") throw error;
    return [h("h1", {}, "This cannot be played"), h("p", { class: "error" }, ACCESS_MESSAGES[error.code] ?? error.message),
      (error.streams ?? []).map(({ device, stream_id }) => h("p", { class: "actions" }, `Playing on ${device.name ?? "another device"}.`, h("a", { class: "button primary", href: `#/play/${id}?replace=${stream_id}` }, "Stop it and play here"))),
      h("p", { class: "actions" }, ["subscription_required", "not_in_plan"].includes(error.code) && h("a", { class: "button primary", href: "#/plans" }, "See plans"), error.devices && h("a", { class: "button", href: "#/account" }, "See your devices"), h("a", { class: "button", href: "#/" }, "Home"))];
  }
  let position = stream.resume_s, state = "playing", over = false;
  const clock = h("p", { class: "clock", role: "timer", "aria-label": "Position" }, formatPosition(position));
  const heartbeat = h("dd", {}, "started"), streams = h("dd", {}), expiry = h("dd", {});
  const showLimits = ({ current, max }) => (streams.textContent = `${current} of ${max} in your plan`);
  const showGrant = (grant) => (expiry.textContent = `valid until ${formatTime(grant.expires_at)}, renewed by each heartbeat`);
  const sendHeartbeat = async (newState, options) => {
    if (over) return;
    over = newState === "stopped";
    try {
      const payload = await api("POST", `/playback/${stream.stream_id}/heartbeat`, { position_s: Math.floor(position), state: newState, at: new Date().toISOString() }, options);
      heartbeat.textContent = `${newState} at ${formatPosition(position)}, sent at ${new Date().toLocaleTimeString()}`;
      showLimits(payload);
      if (payload.grant) showGrant(payload.grant);
    } catch (error) {
      if (error.code !== "stream_ended") return notify(error.message);
      end(); // first, so that no further heartbeat is sent for this stream
      main.replaceChildren(h("h1", {}, "Playback ended"), h("p", {}, ACCESS_MESSAGES[error.reason] ?? `Reason: ${error.reason.replaceAll("_", " ")}.`), h("a", { class: "button primary", href: "#/" }, "Home"));
    }
  };
  const ticks = setInterval(() => { if (state === "playing") clock.textContent = formatPosition(++position); }, 1000);
  const heartbeats = setInterval(() => sendHeartbeat(state), stream.heartbeat.interval_s * 1000);
  const end = () => { over = true; clearInterval(ticks); clearInterval(heartbeats); removeEventListener("pagehide", stop); };
  const stop = () => sendHeartbeat("stopped", { keepalive: true });
  addEventListener("pagehide", stop);
  leavePage = () => { stop(); end(); };
  const toggle = button("Pause", () => {
    toggle.textContent = (state = state === "playing" ? "paused" : "playing") === "playing" ? "Pause" : "Resume";
    return sendHeartbeat(state);
  }, { class: "primary" });
  const skip = (s) => button(s > 0 ? `+${s} s` : `−${-s} s`, () => { clock.textContent = formatPosition((position = Math.max(0, position + s))); return sendHeartbeat(state); });
  showLimits(stream.limits);
  showGrant(stream.grant);
  return [h("h1", {}, "Playing"), h("div", { class: "player" }, h("div", { class: "screen" }, clock, h("p", { class: "muted" }, "This demo has no video. A real player would now fetch the manifest below.")),
    h("p", { class: "actions" }, toggle, skip(-30), skip(30), h("a", { class: "button", href: "#/" }, "Stop")),
    h("dl", { class: "facts" }, h("dt", {}, "Manifest"), h("dd", {}, stream.manifests.map(({ type, url }) => h("div", {}, `${type}: ${url}`))), h("dt", {}, "Grant"), expiry, h("dt", {}, "Heartbeat"), heartbeat,
      h("dt", {}, "Streams"), streams, h("dt", {}, "Maximum height"), h("dd", {}, `${stream.limits.max_height} pixels`), h("dt", {}, "Stream id"), h("dd", {}, stream.stream_id)))];
}

// --- account -------------------------------------------------------------------------------------------------------
async function account() {
  const [devices, sessions, streams, invoices] = await Promise.all(["/devices", "/sessions", "/playback", "/invoices?limit=12"].map((path) => api("GET", path)));
  const remove = (path) => async () => { await api("DELETE", path); await refreshSession(); await show(); };
  return [h("h1", {}, "Your account"), facts([["Email", me.account.email + (me.account.email_verified ? "" : " (not confirmed)")], ["Country", countryName(me.account.country) ?? me.account.country], ["Profile", me.profile?.name ?? "none selected"]]),
    h("p", { class: "actions" }, h("a", { class: "button", href: "#/profiles" }, "Switch profile"), h("a", { class: "button", href: "#/security" }, "Security"), h("a", { class: "button", href: "#/activate" }, "Sign in a TV"), h("a", { class: "button", href: "#/gift" }, "Redeem a gift"), button("Sign out", async () => { await api("DELETE", "/sessions/current"); me = null; location.assign("#/"); })),
    h("h2", {}, "Playing now"), itemList(streams.items, (stream) => [h("span", {}, `${stream.device.name ?? "Unknown device"}: ${stream.state} at ${formatPosition(stream.position_s)}`), button("Stop", remove(`/playback/${stream.stream_id}`))], "Nothing is playing."),
    h("h2", {}, "Devices"), itemList(devices.items, (device) => [h("span", {}, device.name, device.current && " (this device)"), h("span", { class: "muted" }, `last seen ${formatTime(device.last_seen_at)}`), !device.current && button("Remove", remove(`/devices/${device.id}`))], "No devices."),
    h("h2", {}, "Sessions"), itemList(sessions.items, (session) => [h("span", {}, session.device?.name ?? "Unknown device", session.current && " (this session)"), h("span", { class: "muted" }, `from ${session.city ?? session.address ?? "an unknown location"}, last used ${formatTime(session.last_seen_at)}`), !session.current && button("End", remove(`/sessions/${session.id}`))], "No sessions."),
    sessions.items.length > 1 && h("p", { class: "actions" }, button("End all other sessions", remove("/sessions"))),
    h("h2", {}, "Invoices"), itemList(invoices.items.filter((invoice) => invoice.number), (invoice) => [h("span", {}, `${invoice.number}: ${formatMoney(invoice, invoice.total_minor)}, ${invoice.status}`), h("a", { href: `v1/invoices/${invoice.id}/pdf` }, "PDF")], "No invoices yet.")];
}

function authenticatorSetup({ secret, otpauth_uri }, submit, ...fields) {
  return [h("p", {}, "Add this account to an authenticator app, then enter the code that the app shows."),
    facts([["Secret", h("code", {}, secret)], ["Link", h("a", { href: otpauth_uri }, otpauth_uri)]]), h("br"),
    form("Activate", submit, fields, input("Code from the app", "code", codeInput))];
}
function showRecoveryCodes({ recovery_codes }, next) {
  showStep("Your recovery codes", h("p", {}, "Each code replaces the app once if you lose it. The codes are shown only this time: write them down."), h("ul", { class: "codes" }, recovery_codes.map((code) => h("li", {}, h("code", {}, code)))), next);
}
async function security() {
  const [app, passkeys] = await Promise.all([api("GET", "/account/totp"), api("GET", "/passkeys")]);
  const thenReload = (action) => async (values) => { await action(values); await show(); };
  const back = h("p", { class: "actions" }, button("Back to security", show));
  return [h("h1", {}, "Security"), h("h2", {}, "Password"), form("Change password", async (values, element) => {
    await api("PUT", "/account/password", values);
    element.reset();
    notify("Your password is changed, and all other sessions are signed out.");
  }, input("Current password", "current_password", FACTORS.password[2]), input("New password", "password", newPasswordInput)),
  h("h2", {}, "Authenticator app"), h("p", { class: "muted" }, app.active ? `Active since ${formatTime(app.since)}. Recovery codes left: ${app.recovery_codes_left}.` : "With an authenticator app, your password alone is not enough to sign in."),
  h("p", { class: "actions" }, app.active ? [button("New recovery codes", async () => showRecoveryCodes(await api("PUT", "/account/totp/recovery-codes"), back)), button("Remove app", thenReload(() => api("DELETE", "/account/totp")))]
    : button("Add an app", async () => showStep("Add an authenticator app", authenticatorSetup(await api("POST", "/account/totp"), async (values) => showRecoveryCodes(await api("PUT", "/account/totp", values), back)), back))),
  h("h2", {}, "Passkeys"), itemList(passkeys.items, (passkey) => [h("span", {}, passkey.name), h("span", { class: "muted" }, passkey.last_used_at ? `last used ${formatTime(passkey.last_used_at)}` : `added ${formatTime(passkey.created_at)}`), button("Remove", thenReload(() => api("DELETE", `/passkeys/${passkey.id}`)), { "aria-label": `Remove ${passkey.name}` })], "No passkeys yet."), h("br"),
  HAS_PASSKEYS ? form("Add a passkey", thenReload(async ({ name }) => {
    const options = PublicKeyCredential.parseCreationOptionsFromJSON(await api("POST", "/passkeys/options"));
    await api("POST", "/passkeys", { name, credential: await requestPasskey("create", options) });
  }), input("Name of the passkey", "name", { value: thisDevice().name, maxlength: 100 })) : h("p", { class: "muted" }, "Passkeys need a host name: set STREAMSVC_PUBLIC_URL to one, such as localhost, and open this page there.")];
}

// --- navigation ----------------------------------------------------------------------------------------------------
const PAGES = { "": home, "sign-in": signIn, "sign-up": signUp, forgot: forgotPassword, "reset-password": resetPassword, plans, gift, ...EMAIL_PAGES };
const CATALOG_PAGES = { search, genre, title, channels, channel };
const SIGNED_IN_PAGES = { profiles, buy, "payment-return": paymentReturn, play, account, security, activate };
let navigation = 0; // counts page changes, so that a slow page cannot replace a later one
async function show() {
  const current = ++navigation;
  leavePage();
  leavePage = () => {};
  document.querySelector("dialog")?.close();
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  let nodes, isOpen = me != null;
  try {
    isOpen = await canBrowse();
    const closed = (me ? null : SIGNED_IN_PAGES[name]) ?? (isOpen ? null : CATALOG_PAGES[name]);
    const page = closed ? signIn : PAGES[name] ?? CATALOG_PAGES[name] ?? SIGNED_IN_PAGES[name];
    nodes = page ? await page(id, new URLSearchParams(query)) : [h("h1", {}, "Page not found")];
  } catch (error) {
    nodes = [h("h1", {}, "Something went wrong"), h("p", { class: "error" }, error.message), h("a", { class: "button", href: "#/" }, "Home")];
  }
  if (current !== navigation) return;
  render(nodes);
  $("search").hidden = !isOpen;
  if (name !== "search" && document.activeElement !== searchField) searchField.value = "";
  const link = (to, text) => h("a", { href: `#/${to}`, "aria-current": to === name && "page" }, text);
  $("nav").replaceChildren(...(me ? [link("", "Home"), link("plans", "Plans"), link("account", me.profile?.name ?? "Account")] : [link("plans", "Plans"), link("sign-in", "Sign in")]));
  const heading = main.querySelector("h1");
  document.title = `${heading?.textContent ?? ""} – streamsvc`;
  if (document.activeElement === searchField && name === "search") return;
  scrollTo(0, 0);
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}
searchField.addEventListener("input", () => {
  clearTimeout(searchField.timer);
  const to = `#/search?q=${encodeURIComponent(searchField.value)}`;
  searchField.timer = setTimeout(() => (location.hash.startsWith("#/search") ? location.replace(to) : location.assign(to)), 180);
});
$("search").addEventListener("submit", (event) => { event.preventDefault(); main.querySelector(".card")?.focus(); });
// For TV remote controls, which only have arrow keys: move the focus to the nearest card in that direction.
main.addEventListener("keydown", (event) => {
  const [x, y] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
  if (x === undefined || !event.target.matches(".card")) return;
  const from = event.target.getBoundingClientRect();
  const distances = (element) => { const box = element.getBoundingClientRect(); return [(box.x - from.x) * x + (box.y - from.y) * y, Math.abs((box.x - from.x) * y) + Math.abs((box.y - from.y) * x)]; };
  const [nearest] = [...main.querySelectorAll(".card")].map((element) => [element, ...distances(element)]).filter(([, ahead]) => ahead > 8).sort((a, b) => a[1] + 3 * a[2] - b[1] - 3 * b[2]);
  if (!nearest) return;
  event.preventDefault();
  nearest[0].focus();
});
addEventListener("hashchange", show);
await refreshSession();
await show();
