// The service's API: requests with the session's cookie, and who is signed in.
import { language, t } from "./i18n.js";
import { declineMessage, errorMessage } from "./messages.js";

export const state = { me: null, isPublic: null }; // me: the body of GET /v1/sessions/current, null while signed out
const reauthenticate = async () => (await import("./signin.js")).reauthenticate();

let waiting = 0;
function countRequest(change) {
  // a line at the top of the page shows that something is loading
  waiting += change;
  document.documentElement.classList.toggle("waiting", waiting > 0);
}

export async function api(method, path, body, options = {}) {
  const headers = { ...options.headers };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (state.me && method !== "GET") headers["X-CSRF-Token"] = state.me.csrf_token;
  const quiet = options.quiet;
  if (!quiet) countRequest(1);
  let response, payload;
  try {
    response = await fetch("v1" + path, { ...options, method, headers, body: JSON.stringify(body) });
    payload = response.status === 204 ? null : await response.json();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw Object.assign(new Error(t("The service cannot be reached. Check your connection and try again.")), {
      code: "unreachable",
    });
  } finally {
    if (!quiet) countRequest(-1);
  }
  if (response.ok) return payload;
  if (payload.code === "reauthentication_required") {
    await reauthenticate();
    // A new idempotency key: this error is stored under the first one.
    return api(method, path, body, options.headers ? { ...options, ...idempotent() } : options);
  }
  if (payload.code === "not_signed_in" && state.me) location.assign(((state.me = null), "#/sign-in"));
  throw Object.assign(new Error(errorText(payload)), payload);
}
const errorText = (problem) =>
  (problem.code === "payment_failed" && declineMessage(problem.decline_code)) ||
  errorMessage(problem) ||
  Object.values(problem.errors ?? {})
    .flat()
    .join(" ") ||
  problem.detail;
export const idempotent = () => ({
  headers: {
    "Idempotency-Key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16)).join(""),
  },
});

export async function refreshSession() {
  state.me = await api("GET", "/sessions/current").catch((error) => {
    if (error.status !== 401) throw error;
    return null;
  });
  if (state.me?.profile) await moveOwnList();
}

// A visitor who is signed out says in which country they are; the service ignores it if its proxy knows better.
export function catalog(path) {
  const country = state.me ? null : new Intl.Locale(navigator.language).region;
  const query = new URLSearchParams([
    ...(country ? [["country", country]] : []),
    ...(path.includes("locale=") || !takesLocale(path) ? [] : [["locale", language]]),
  ]);
  return api("GET", `/catalog${path}` + (query.size ? `${path.includes("?") ? "&" : "?"}${query}` : ""));
}
// Titles and rows come in the language of the page; the other lists have none.
const takesLocale = (path) => /^\/(titles|home|search|episodes|collections|people)\b/.test(path);
export const canBrowse = async () =>
  state.me != null ||
  (state.isPublic ??= await catalog("/genres").then(
    () => true,
    (error) => {
      if (error.status !== 401) throw error;
      return false;
    },
  ));

// The list of a visitor who is signed out: [{title_id, added_at}], the newest first. The account gets it at sign-in.
export function ownList() {
  try {
    return JSON.parse(localStorage.ownList).filter(({ title_id, added_at }) => title_id && added_at);
  } catch {
    return [];
  }
}
export const isOnOwnList = (id) => ownList().some(({ title_id }) => title_id === id);
export function toggleOwnList(id) {
  const others = ownList().filter(({ title_id }) => title_id !== id);
  const items = isOnOwnList(id) ? others : [{ title_id: id, added_at: new Date().toISOString() }, ...others];
  localStorage.ownList = JSON.stringify(items.slice(0, 100));
}
async function moveOwnList() {
  // again at the next start if it fails
  const items = ownList();
  if (items.length)
    await api("POST", `/profiles/${state.me.profile.id}/watchlist`, { items }).then(
      () => localStorage.removeItem("ownList"),
      () => {},
    );
}
