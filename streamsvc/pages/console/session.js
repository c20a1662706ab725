// Who the operator is: sign-in, an invitation with its authenticator, and their own password, codes and sessions.
import { api, get, session } from "./api.js";
import { CODE, change } from "./dialog.js";
import { badge, button, copyButton, facts, h, link, notify, panel, time } from "./dom.js";
import { form, input } from "./form.js";
import { table } from "./table.js";

const NEW_PASSWORD = { type: "password", autocomplete: "new-password", minlength: 8, maxlength: 200 };
const card = (...children) => h("div", { class: "card narrow" }, children);

export function signIn(show) {
  const code = h("div", { class: "stack", hidden: true });
  const askForCode = (isRecovery) => {
    code.hidden = false;
    code.replaceChildren(
      isRecovery
        ? input("Recovery code", "recovery_code", { autocomplete: "off", maxlength: 40 })
        : input("Code from your authenticator app", "totp", CODE),
      button(isRecovery ? "Use the authenticator app" : "Use a recovery code", () => askForCode(!isRecovery), {
        class: "quiet",
      }),
    );
    code.querySelector("input").focus();
  };
  const submit = async (values) => {
    try {
      session.me = await api("POST", "/admin/sessions", { ...values, cookie: true });
    } catch (error) {
      if (error.code !== "second_factor_required") throw error;
      return askForCode(false);
    }
    const stored = await get("/admin/sessions/current").catch(() => null);
    if (!stored) {
      session.me = null;
      throw new Error("Your browser did not keep the session's cookie. Open the console over https, or on localhost.");
    }
    await show();
  };
  return card(
    h("h1", {}, "Operator sign-in"),
    form("Sign in", submit, [
      input("Email", "email", { type: "email", autocomplete: "username", autofocus: true }),
      input("Password", "password", { type: "password", autocomplete: "current-password" }),
      code,
    ]),
    h(
      "p",
      { class: "muted" },
      "Operators are invited by an admin. An admin can reset an operator who lost both password and authenticator.",
    ),
  );
}

export async function signOut(show) {
  await api("DELETE", "/admin/sessions/current").catch((error) => {
    if (error.status !== 401) throw error;
  });
  session.me = null;
  location.hash = "#/";
  await show();
}

// The page of the mailed link. Nothing is sent before a click: mail filters open links too.
export function invitation(parameters) {
  const token = parameters.get("token");
  const box = card(h("h1", {}, "Become an operator"));
  const step = (...nodes) => {
    box.replaceChildren(...nodes.flat());
    box.querySelector("h1").setAttribute("tabindex", "-1");
    box.querySelector("h1").focus();
  };
  const start = async () => {
    const { email, role, secret, qr_code } = await api("POST", "/admin/invitations", { token });
    step(
      h("h1", {}, "Set up your sign-in"),
      facts([
        ["Email", email],
        ["Role", role],
      ]),
      h(
        "ol",
        { class: "steps" },
        h(
          "li",
          {},
          "Scan this code with an authenticator app.",
          h("img", { class: "qr", src: qr_code, alt: "QR code for the authenticator app" }),
          h(
            "details",
            {},
            h("summary", {}, "I cannot scan it"),
            h("p", {}, "Enter this key in the app: ", h("code", {}, secret)),
          ),
        ),
        h("li", {}, "Choose a password, and enter the code that the app shows now."),
      ),
      form("Finish", async (values) => finish(await api("PUT", "/admin/invitations", { token, ...values })), [
        h("input", {
          type: "email",
          value: email,
          autocomplete: "username",
          hidden: true,
          "aria-label": "Email",
          readonly: true,
        }),
        input("New password", "password", NEW_PASSWORD),
        input("Code from the app", "code", CODE),
      ]),
    );
  };
  const finish = ({ recovery_codes }) =>
    step(
      h("h1", {}, "Your recovery codes"),
      codes(recovery_codes),
      h("p", { class: "actions" }, link("#/", "I have stored them: sign in", { class: "button primary" })),
      h("p", { class: "muted" }, "A code of the app counts once. Wait for its next one before you sign in."),
    );
  box.append(
    token
      ? h("p", {}, "You were invited to operate this service. You choose a password and set up an authenticator app.")
      : h("p", { class: "error" }, "The link is incomplete. Open it from your invitation again."),
    token ? form("Start", start, []) : "",
  );
  return box;
}

const codes = (list) => [
  h(
    "p",
    {},
    "Each of them replaces the authenticator app once, if you lose it. They are shown only now: print or store them.",
  ),
  h(
    "ul",
    { class: "codes" },
    list.map((code) => h("li", {}, h("code", {}, code))),
  ),
  copyButton(list.join("\n")),
];

export async function account() {
  const { operator, session: current } = session.me;
  const password = form(
    "Change password",
    async (values, element) => {
      await api("PUT", "/admin/credentials/password", values);
      element.reset();
      notify("Your password is changed, and your other sessions are signed out.");
    },
    [
      input("Current password", "current_password", { type: "password", autocomplete: "current-password" }),
      input("New password", "password", NEW_PASSWORD),
    ],
  );
  const sessions = await table({
    title: "Your sessions",
    path: "/admin/sessions",
    columns: [
      { name: "Signed in", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
      { name: "Last used", value: (row) => row.last_seen_at, cell: (row) => time(row.last_seen_at) },
      { name: "From", value: (row) => row.network },
      { name: "Browser", value: (row) => row.user_agent },
    ],
    actions: (row, restart) =>
      row.current
        ? badge("this session", "good")
        : button("End", async () => {
            await api("DELETE", `/admin/sessions/${row.id}`);
            await restart();
            notify("The session is ended.");
          }),
  });
  return [
    h("h1", {}, operator.name),
    facts([
      ["Email", operator.email],
      ["Role", operator.role],
      ["May change", operator.write_scopes.join(", ") || "nothing"],
      ["May read", operator.read_scopes.join(", ")],
      ["Signed in", time(current.created_at)],
    ]),
    h(
      "div",
      { class: "columns" },
      panel("Password", password),
      panel(
        "Recovery codes",
        h("p", { class: "muted" }, "Ten new codes replace the old ones."),
        button("New recovery codes", () => newCodes()),
      ),
    ),
    panel("Your sessions", sessions),
    mayManage(operator) && panel("Operators", link("#/running/operators", "Invite and manage operators")),
  ];
}
const mayManage = ({ write_scopes }) => write_scopes.includes("admin");

const newCodes = () =>
  change({
    title: "New recovery codes",
    verb: "Replace them",
    explain: "The codes that you have become invalid.",
    run: async () => codes((await api("PUT", "/admin/credentials/recovery-codes")).recovery_codes),
  });
