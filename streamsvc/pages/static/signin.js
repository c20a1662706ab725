// Sign-in, sign-up, forgotten passwords, and the question who it is before a sensitive change.
import { api, refreshSession, state } from "./api.js";
import { countryOptions, likelyCountry } from "./countries.js";
import {
  actions,
  button,
  checkbox,
  form,
  h,
  heading,
  input,
  link,
  muted,
  notify,
  openDialog,
  select,
  showStep,
} from "./dom.js";
import { language, t } from "./i18n.js";

export const thisDevice = () => ({
  id: localStorage.device,
  name: /Mobile|Android|iPhone/.test(navigator.userAgent) ? t("Phone browser") : t("Web browser"),
  kind: "web",
});
const passwordInput = { type: "password", minlength: 8, maxlength: 128 };
export const newPasswordInput = { ...passwordInput, autocomplete: "new-password" };
export const codeInput = { inputmode: "numeric", autocomplete: "one-time-code" };
export const FACTORS = {
  // by name in the API: the field's label, the label of the button that switches to it, the input's attributes
  password: [
    t("Your password"),
    t("Use your password instead"),
    { ...passwordInput, minlength: 1, autocomplete: "current-password" },
  ],
  totp: [t("Code from your authenticator app"), t("Use your authenticator app instead"), codeInput],
  recovery_code: [t("Recovery code"), t("Use a recovery code instead"), { autocomplete: "off" }],
  email_code: [t("Code that we just emailed you"), t("Use an emailed code instead"), codeInput],
};
// WebAuthn needs a host name; it does not work on an IP address.
export const HAS_PASSKEYS =
  window.PublicKeyCredential?.parseCreationOptionsFromJSON && !/^[\d.]+$|:/.test(location.hostname);
export const requestPasskey = async (operation, publicKey) =>
  (
    await navigator.credentials[operation]({ publicKey }).catch((error) => {
      throw error.name === "NotAllowedError" ? new Error(t("No passkey was used.")) : error;
    })
  ).toJSON();

// Browsers keep the session's cookie, which is Secure, only from https and, mostly, from this machine itself.
function cookieRefused() {
  const port = location.port ? `:${location.port}` : "";
  return t(
    "Your browser did not keep the sign-in cookie, because this page came over plain http. Open it by https, or on the machine that serves it as {url}.",
    { url: `http://localhost${port}` },
  );
}
const insecureWarning = () =>
  !window.isSecureContext &&
  h(
    "p",
    { class: "warning", role: "note" },
    t(
      "This page came over plain http, so your browser will refuse the sign-in cookie. Open it by https, or on the machine that serves it as {url}.",
      { url: `http://localhost${location.port ? `:${location.port}` : ""}` },
    ),
  );

async function completeSignIn(payload, to) {
  localStorage.device = payload.session.device.id;
  state.me = payload.csrf_token ? payload : null;
  await refreshSession();
  if (!state.me) throw new Error(cookieRefused());
  const { profile, profiles } = state.me;
  location.assign(sessionStorage.gift ? "#/gift" : (to ?? (profile && profiles.length === 1 ? "#/" : "#/profiles")));
}

// A field for one of the factors that an error lists in `methods`, with buttons to switch to the others.
function factorField(trustCheckbox) {
  const element = h("div", { class: "factor" });
  element.showMethods = ([name, ...others]) => {
    const [label, , attributes] = FACTORS[name];
    const switchTo = (other) =>
      button(FACTORS[other][1], () =>
        element.showMethods([other, name, ...others.filter((method) => method !== other)]),
      );
    element.replaceChildren(
      ...[input(label, name, attributes), name !== "email_code" && trustCheckbox, ...others.map(switchTo)].filter(
        Boolean,
      ),
    );
    element.querySelector("input").focus();
  };
  return element;
}
export async function reauthenticate() {
  const path = "/sessions/current/reauthentication";
  // Emails a code if the account has neither password nor authenticator app; otherwise the error lists the methods.
  const { methods } = await api("POST", `${path}/email-code`).catch((error) => {
    if (error.methods) return error;
    throw error;
  });
  const factor = factorField();
  const confirmed = await openDialog(t("Confirm that it is you"), (close) => {
    const confirmation = form(
      t("Continue"),
      async (values) => {
        await api("POST", path, values);
        close(true);
      },
      factor,
    );
    confirmation.lastChild.append(button(t("Cancel"), () => close()));
    requestAnimationFrame(() => factor.showMethods(methods ?? ["email_code"]));
    return [
      muted(t("This action requires that you have confirmed your identity within the last ten minutes.")),
      confirmation,
    ];
  });
  if (!confirmed) throw new Error(t("Nothing was changed."));
}

// The last step of every way to sign in. If the API requires a second factor, the form asks for it in place.
function signInForm(path, credentials, ...fields) {
  const factor = factorField(checkbox(t("Trust this device: do not ask for a code here again"), "trust_device"));
  return form(
    t("Sign in"),
    async ({ trust_device, ...values }) => {
      const body = {
        ...credentials,
        ...values,
        trust_device: trust_device === "on",
        cookie: true,
        device: thisDevice(),
      };
      await api("POST", path, body).then(
        (payload) => completeSignIn(payload),
        (error) => {
          if (error.methods) factor.showMethods(error.methods);
          else throw error;
        },
      );
    },
    fields,
    factor,
  );
}
export function signIn(_, query, { show }) {
  if (query.has("token"))
    return [
      heading(t("Sign in with your link")),
      muted(t("The link works once, in the browser where you requested it.")),
      insecureWarning(),
      signInForm("/sessions/magic-link", { token: query.get("token") }),
    ];
  const email = input(t("Email"), "email", { type: "email", autocomplete: "username" });
  const sendLink = async () => {
    if (!email.lastChild.reportValidity()) return;
    await api("POST", "/magic-links", { email: email.lastChild.value, cookie: true });
    showStep(
      t("Check your email"),
      h(
        "p",
        {},
        t("If {email} has an account here, you will receive a link. Open it in this browser.", {
          email: email.lastChild.value,
        }),
      ),
    );
  };
  const usePasskey = async () => {
    const options = await api("POST", "/sessions/passkey-options", { cookie: true });
    const passkeyForm = signInForm("/sessions/passkey", {
      credential: await requestPasskey("get", PublicKeyCredential.parseRequestOptionsFromJSON(options)),
    });
    showStep(t("Sign in with a passkey"), passkeyForm, h("p", {}, button(t("Sign in another way"), show)));
    passkeyForm.requestSubmit();
  };
  return [
    heading(t("Sign in")),
    insecureWarning(),
    signInForm("/sessions", {}, email, input(t("Password"), "password", FACTORS.password[2])),
    actions(button(t("Email me a link instead"), sendLink), HAS_PASSKEYS && button(t("Use a passkey"), usePasskey)),
    h(
      "p",
      {},
      t("New here?"),
      " ",
      link("#/sign-up", t("Create an account"), null),
      " · ",
      link("#/forgot", t("Forgot your password?"), null),
    ),
  ];
}
export function signUp() {
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  return [
    heading(t("Create an account")),
    insecureWarning(),
    form(
      t("Create account"),
      async (values) => {
        const payload = await api("POST", "/accounts", {
          ...values,
          time_zone: timeZone,
          locale: language === navigator.language.split("-")[0] ? navigator.language : language,
          cookie: true,
          device: thisDevice(),
        });
        if (payload.session) await completeSignIn(payload, "#/plans");
        else notify(t("Check your email to continue."));
      },
      input(t("Your name"), "name", { autocomplete: "given-name", maxlength: 60 }),
      input(t("Email"), "email", { type: "email", autocomplete: "username" }),
      input(t("Password"), "password", newPasswordInput),
      select(t("Country"), "country", countryOptions(), likelyCountry(), { autocomplete: "country" }),
    ),
    h("p", {}, t("Already have an account?"), " ", link("#/sign-in", t("Sign in"), null)),
  ];
}
export const forgotPassword = () => [
  heading(t("Forgot your password?")),
  form(
    t("Send me a link"),
    async (values) => {
      await api("POST", "/password-resets", values);
      notify(t("If this account exists, you will receive an email."));
    },
    input(t("Email"), "email", { type: "email", autocomplete: "username" }),
  ),
];
export const goToSignIn = () => (location.assign("#/sign-in"), notify(t("Password saved. Sign in.")));
export const resetPassword = (_, query) => [
  heading(t("Set a new password")),
  form(
    t("Save password"),
    async ({ days, ...values }) => {
      const since = days && { revoke_access_since: new Date(Date.now() - days * 86_400_000 + 60_000).toISOString() };
      await api("PUT", "/password-resets", { ...values, ...since, token: query.get("token") });
      goToSignIn();
    },
    input(t("New password"), "password", newPasswordInput),
    select(
      t("Did somebody else use your account?"),
      "days",
      [
        ["", t("No, it was only me")],
        ["1", t("Yes: also remove what was added within the last day")],
        ["7", t("Yes: also remove what was added within the last week")],
      ],
      "",
    ),
  ),
];
