// Signing in a TV: the page that a TV shows, and the page on which its owner confirms it.
import { api, refreshSession } from "./api.js";
import { actions, button, form, h, heading, input, link, muted } from "./dom.js";
import { formatTime, t } from "./i18n.js";
import { qrCode } from "./qr.js";

// What a TV shows: a code and its QR code. The TV's own app asks for its token; here the page only says when it has one.
export async function tv(_, __, page) {
  const request = await api("POST", "/device-codes", { device: { name: t("Living room TV"), kind: "tv" } });
  const status = h("p", { class: "muted", role: "status" }, t("Waiting for you to confirm…"));
  let interval_s = request.interval,
    timer = null;
  const poll = async () => {
    const body = new URLSearchParams({
      grant_type: "urn:ietf:params:oauth:grant-type:device_code",
      device_code: request.device_code,
    });
    const payload = await fetch("v1/token", { method: "POST", body }).then(
      (response) => response.json(),
      () => ({ error: "authorization_pending" }),
    );
    if (payload.error === "slow_down") interval_s += 5;
    if (["authorization_pending", "slow_down"].includes(payload.error)) timer = setTimeout(poll, interval_s * 1000);
    else
      status.textContent = payload.access_token
        ? t("The TV is signed in. A TV app would now open its home screen.")
        : payload.error === "access_denied"
          ? t("The request was denied.")
          : t("The code has expired.");
  };
  timer = setTimeout(poll, interval_s * 1000);
  page.onLeave(() => clearTimeout(timer));
  return [
    heading(t("Sign in on this TV")),
    h(
      "div",
      { class: "tv" },
      qrCode(request.verification_uri_complete, t("QR code that opens the confirmation on your phone")),
      h(
        "div",
        {},
        h("p", {}, t("Scan the code with your phone, or open this address and enter the code:")),
        h("p", {}, link(request.verification_uri_complete, request.verification_uri, null)),
        h("p", { class: "code" }, request.user_code),
        status,
      ),
    ),
    muted(
      t("This page plays the part of a TV. Its code works for {n} minutes.", {
        n: Math.floor(request.expires_in / 60),
      }),
    ),
  ];
}

export function activate(_, query) {
  const request = h("div", { role: "status" });
  return [
    heading(t("Sign in a TV")),
    form(
      t("Find the device"),
      async ({ code }) => {
        const { device, city, address, created_at } = await api("POST", "/device-code-lookups", { user_code: code });
        const decide = (approve) => async () => {
          await api("PUT", `/device-codes/${encodeURIComponent(code)}/decision`, { approve });
          request.replaceChildren(approve ? t("The device is signed in.") : t("The request was denied."));
          await refreshSession();
        };
        request.replaceChildren(
          h(
            "p",
            {},
            t("“{name}” requested to sign in from {place} at {time}. Is this the device in front of you?", {
              name: device.name,
              place: city ?? address ?? t("an unknown location"),
              time: formatTime(created_at),
            }),
          ),
          actions(button(t("Approve"), decide(true), { class: "primary" }), button(t("Deny"), decide(false))),
        );
      },
      input(t("Code on the TV screen"), "code", { value: query.get("code") ?? "", autocomplete: "off" }),
    ),
    request,
    muted(t("No TV at hand?"), " ", link("#/tv", t("Open the page that a TV shows"), null)),
  ];
}
