// The targets of links in emails. None sends anything before a click, because some mail programs open links on their own.
import { api, refreshSession, state } from "./api.js";
import { actions, button, form, h, heading, input, itemList, link, showStep } from "./dom.js";
import { formatTime, t } from "./i18n.js";
import { authenticatorSetup, showRecoveryCodes } from "./security.js";
import { goToSignIn, newPasswordInput } from "./signin.js";

export const ACCESS_NAMES = {
  session: t("Sign-in"),
  device: t("Device"),
  device_approval: t("Approved TV"),
  passkey: t("Passkey"),
  identity: t("Sign-in with"),
  authenticator: t("Authenticator app"),
  recovery_codes: t("Recovery codes"),
  username: t("Username"),
  phone: t("Telephone number"),
  email_change: t("Change of the email address"),
  password_change: t("Change of the password"),
};
const CHANGES = ["email_change", "password_change"];
// For links in emails that cannot be requested again.
const useMailedToken = (...request) =>
  api(...request).catch((error) => {
    if (error.code === "token_invalid")
      error.message = t("This link is unknown, already used or expired. Contact support, or reset your password.");
    throw error;
  });
const done = (heading, result) =>
  showStep(heading, h("p", {}, result), actions(link("#/", t("Continue"), "button primary")));
// The target of a link that removes what an intruder added: it shows what will go and what stays before it sends anything.
const removalPage = (title, label, path, result) => (_, query) => {
  const token = query.get("token"),
    preview = h("div", { role: "status" });
  const line = ({ kind, name, created_at }) =>
    `${ACCESS_NAMES[kind]}${name ? ` “${name}”` : ""}, ${formatTime(created_at)}`;
  const show = button(t("Show what will be removed"), async () => {
    const { items } = await useMailedToken("POST", "/access-revocation-previews", { token });
    const access = items.filter(({ kind }) => !CHANGES.includes(kind)); // a change of the past neither goes nor stays
    const part = (text, revoked) => [
      h("h2", {}, text),
      itemList(
        access.filter((item) => item.revoked === revoked),
        line,
        t("Nothing."),
      ),
    ];
    preview.replaceChildren(
      ...part(t("Will be removed"), true),
      h("p", {}, t("The password stops working; you will set a new one.")),
      ...part(t("Stays"), false),
    );
  });
  return [
    heading(title),
    h("p", {}, show),
    preview,
    form(label, async () => {
      await useMailedToken("PUT", path, { token });
      done(title, result);
    }),
  ];
};
const recoverAccount = (_, query) => [
  heading(t("Recover your account")),
  form(
    t("Save password"),
    async (values) => {
      await useMailedToken("PUT", "/account-recoveries", { ...values, token: query.get("token") });
      goToSignIn();
    },
    input(t("New password"), "password", newPasswordInput),
  ),
];
const tokenPage =
  (title, label, path, result, send = useMailedToken) =>
  (_, query) => [
    heading(title),
    form(label, async () => {
      await send("PUT", path, { token: query.get("token") });
      done(title, result);
    }),
  ];
const takeProfile = (_, query) => [
  heading(t("Take a profile with you")),
  state.me
    ? form(t("Add it to my account"), async () => {
        await api("POST", "/profile-transfers", { token: query.get("token") });
        await refreshSession();
        location.assign("#/profiles");
      })
    : h("p", {}, t("Sign in or create an account, then open the link in the email again.")),
];
function invitation(_, query) {
  const token = query.get("token");
  return [
    heading(t("Operate streamsvc")),
    form(t("Start"), async () => {
      const invited = await api("POST", "/admin/invitations", { token });
      showStep(
        t("Welcome, {name}", { name: invited.name }),
        authenticatorSetup(
          invited,
          async (values) => {
            showRecoveryCodes(
              await api("PUT", "/admin/invitations", { ...values, token }),
              h(
                "p",
                {},
                t("{email} can now sign in at POST /v1/admin/sessions with the next code from the app.", {
                  email: invited.email,
                }),
              ),
            );
          },
          input(t("New password"), "password", newPasswordInput),
        ),
      );
    }),
  ];
}

export const EMAIL_PAGES = {
  "confirm-email": tokenPage(
    t("Confirm your email address"),
    t("Confirm"),
    "/email-verifications",
    t("Your email address is confirmed. If you signed up on another device, we emailed you a link to set a password."),
    api,
  ),
  "undo-email-change": removalPage(
    t("Restore your previous email address"),
    t("Undo the change"),
    "/email-verifications",
    t(
      "Your previous address is restored, and all sessions are signed out. We emailed you a link to set a new password.",
    ),
  ),
  "not-my-device": removalPage(
    t("Sign out a device that is not yours"),
    t("Sign it out"),
    "/devices/disowned",
    t("The device is signed out, and what was added since is removed. We emailed you a link to set a new password."),
  ),
  "not-me": removalPage(
    t("Remove what you did not add"),
    t("Remove it"),
    "/access-revocations",
    t("It is removed. We emailed you a link to set a new password."),
  ),
  "cancel-recovery": tokenPage(
    t("Cancel the recovery of your account"),
    t("Cancel it"),
    "/account-recovery-cancellations",
    t("The recovery is canceled. Nothing has changed."),
  ),
  "recover-account": recoverAccount,
  "operator-invitation": invitation,
  "take-profile": takeProfile,
  "restore-account": tokenPage(
    t("Restore your account"),
    t("Restore account"),
    "/account-restorations",
    t("Your account is restored; sign in as usual."),
  ),
};
