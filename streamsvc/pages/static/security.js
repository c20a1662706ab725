// Password, authenticator app and passkeys.
import { api } from "./api.js";
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
  muted,
  notify,
  section,
  showStep,
} from "./dom.js";
import { formatTime, t, tn } from "./i18n.js";
import { qrCode } from "./qr.js";
import { codeInput, FACTORS, HAS_PASSKEYS, newPasswordInput, requestPasskey, thisDevice } from "./signin.js";

export function authenticatorSetup({ secret, otpauth_uri }, submit, ...fields) {
  return [
    h("p", {}, t("Scan the code with an authenticator app, then enter the code that the app shows.")),
    qrCode(otpauth_uri, t("QR code for an authenticator app")),
    h(
      "details",
      {},
      h("summary", {}, t("Cannot scan it?")),
      facts([
        [t("Secret"), h("code", {}, secret)],
        [t("Link"), h("a", { href: otpauth_uri }, otpauth_uri)],
      ]),
    ),
    h("br"),
    form(t("Activate"), submit, fields, input(t("Code from the app"), "code", codeInput)),
  ];
}
export function showRecoveryCodes({ recovery_codes }, next) {
  showStep(
    t("Your recovery codes"),
    h(
      "p",
      {},
      t("Each code replaces the app once if you lose it. The codes are shown only this time: write them down."),
    ),
    h(
      "ul",
      { class: "codes" },
      recovery_codes.map((code) => h("li", {}, h("code", {}, code))),
    ),
    next,
  );
}
export async function security(_, __, { show }) {
  const [app, passkeys] = await Promise.all([api("GET", "/account/totp"), api("GET", "/passkeys")]);
  const thenReload = (action) => async (values) => {
    await action(values);
    await show();
  };
  const back = actions(button(t("Back to security"), show));
  const removeApp = async () => {
    if (
      await ask(
        t("Remove the authenticator app?"),
        t("Then your password alone is enough to sign in."),
        t("Remove app"),
      )
    )
      await thenReload(() => api("DELETE", "/account/totp"))();
  };
  return [
    heading(t("Security")),
    section(
      t("Password"),
      form(
        t("Change password"),
        async (values, element) => {
          await api("PUT", "/account/password", values);
          element.reset();
          notify(t("Your password is changed, and all other sessions are signed out."));
        },
        input(t("Current password"), "current_password", FACTORS.password[2]),
        input(t("New password"), "password", newPasswordInput),
      ),
    ),
    section(
      t("Authenticator app"),
      muted(
        app.active
          ? [
              t("Active since {time}.", { time: formatTime(app.since) }),
              " ",
              tn("{n} recovery code is left.", "{n} recovery codes are left.", app.recovery_codes_left),
            ]
          : t("With an authenticator app, your password alone is not enough to sign in."),
      ),
      actions(
        app.active
          ? [
              button(t("New recovery codes"), async () =>
                showRecoveryCodes(await api("PUT", "/account/totp/recovery-codes"), back),
              ),
              button(t("Remove app"), removeApp),
            ]
          : button(t("Add an app"), async () =>
              showStep(
                t("Add an authenticator app"),
                authenticatorSetup(await api("POST", "/account/totp"), async (values) =>
                  showRecoveryCodes(await api("PUT", "/account/totp", values), back),
                ),
                back,
              ),
            ),
      ),
    ),
    section(
      t("Passkeys"),
      itemList(
        passkeys.items,
        (passkey) => [
          h("span", {}, passkey.name),
          h(
            "span",
            { class: "muted" },
            passkey.last_used_at
              ? t("last used {time}", { time: formatTime(passkey.last_used_at) })
              : t("added {time}", { time: formatTime(passkey.created_at) }),
          ),
          button(
            t("Remove"),
            thenReload(() => api("DELETE", `/passkeys/${passkey.id}`)),
            { "aria-label": t("Remove {name}", { name: passkey.name }) },
          ),
        ],
        t("No passkeys yet."),
      ),
      h("br"),
      HAS_PASSKEYS
        ? form(
            t("Add a passkey"),
            thenReload(async ({ name }) => {
              const options = PublicKeyCredential.parseCreationOptionsFromJSON(await api("POST", "/passkeys/options"));
              await api("POST", "/passkeys", { name, credential: await requestPasskey("create", options) });
            }),
            input(t("Name of the passkey"), "name", { value: thisDevice().name, maxlength: 100 }),
          )
        : muted(
            t(
              "Passkeys need a host name: set STREAMSVC_PUBLIC_URL to one, such as localhost, and open this page there.",
            ),
          ),
    ),
  ];
}
