// The operators' API. The session is a cookie that no script can read; every change carries its CSRF token.
import { askCode } from "./dialog.js";

export const session = { me: null, onEnd: () => {} };

export async function api(method, path, body, { headers = {}, key, text = false } = {}) {
  const sent = { ...headers };
  if (body !== undefined && !sent["Content-Type"]) sent["Content-Type"] = "application/json";
  if (method !== "GET" && session.me) sent["X-CSRF-Token"] = session.me.csrf_token;
  if (method === "POST") sent["Idempotency-Key"] = key ?? newKey();
  const isJson = sent["Content-Type"] === "application/json";
  let response;
  try {
    response = await fetch(`v1${path}`, {
      method,
      headers: sent,
      body: isJson ? JSON.stringify(body) : body,
      cache: "no-cache", // what was just changed is never shown as it was: public lists may be a minute old
    });
  } catch {
    throw new Error("The service cannot be reached. Check your connection, then try again.");
  }
  if (response.ok && text) return response.text();
  const payload = response.status === 204 ? null : await response.json();
  if (response.ok) return payload && Object.defineProperty(payload, "etag", { value: response.headers.get("ETag") });
  if (payload.code === "reauthentication_required") {
    await askCode((totp) => api("POST", "/admin/sessions/current/reauthentication", { totp }));
    return api(method, path, body, { headers, text }); // with a new key: the refusal is stored under the first
  }
  if (payload.code === "not_signed_in" && session.me) session.onEnd();
  throw Object.assign(new Error(errorText(payload)), payload);
}
export const get = (path) => api("GET", path);

const errorText = ({ errors, detail }) =>
  Object.entries(errors ?? {})
    .map(([field, messages]) => `${field}: ${messages.flat().join(" ")}`)
    .join(" ") || detail;
export const newKey = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

// Whether the operator's role has a scope. The API decides; this only spares people what they would be refused.
export function can(scope, write = false) {
  const { write_scopes = [], read_scopes = [] } = session.me?.operator ?? {};
  return write_scopes.includes("admin") || write_scopes.includes(scope) || (!write && read_scopes.includes(scope));
}

export function query(parameters) {
  const filled = Object.entries(parameters).filter(([, value]) => value != null && value !== "");
  return filled.length ? `?${new URLSearchParams(filled)}` : "";
}

// All items of a list, page by page, at most `most`. `onPage(count)` is told how far it is; if it returns false, the rest
// is left out. `isCut` says whether anything is left out.
export async function all(path, parameters = {}, most, onPage = () => true) {
  const items = [];
  let cursor = null;
  do {
    const page = await get(path + query({ limit: 100, ...parameters, cursor }));
    items.push(...page.items);
    cursor = page.next_cursor;
  } while (onPage(items.length) && cursor && items.length < most);
  return Object.assign(items.slice(0, most), { isCut: Boolean(cursor) || items.length > most });
}
