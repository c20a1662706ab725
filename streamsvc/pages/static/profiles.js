// Who is watching: choosing a profile, with its PIN, and managing profiles.
import { api, idempotent, refreshSession, state } from "./api.js";
import {
  actions,
  ask,
  askForm,
  button,
  checkbox,
  form,
  h,
  heading,
  input,
  link,
  muted,
  section,
  select,
} from "./dom.js";
import { t } from "./i18n.js";
import { avatar } from "./titles.js";

const KIDS_AGES = [6, 9, 12, 16];
const pinInput = { type: "password", inputmode: "numeric", pattern: "[0-9]{4,8}", maxlength: 8, autocomplete: "off" };
const ageOptions = () => [
  ["", t("All ages")],
  ...KIDS_AGES.map((age) => [String(age), t("Up to {age} years", { age })]),
];

async function selectProfile(profile) {
  const send = (pin) => api("PATCH", "/sessions/current", { profile_id: profile.id, ...(pin && { pin }) });
  if (profile.has_pin) {
    const done = await askForm(
      t("PIN for {name}", { name: profile.name }),
      t("Continue"),
      async ({ pin }) => {
        await send(pin);
        return true;
      },
      input(t("PIN"), "pin", pinInput),
    );
    if (!done) return;
  } else await send();
  await refreshSession();
  location.assign("#/");
}
export function profiles(_, __, { show }) {
  const { profile: current } = state.me,
    isKid = current?.kids;
  return [
    heading(t("Who is watching?")),
    h(
      "div",
      { class: "profiles" },
      state.me.profiles.map((profile) =>
        button(
          [
            avatar(profile.name),
            profile.name,
            profile.kids && h("small", {}, t("Kids")),
            profile.has_pin && h("small", {}, "(PIN)"),
          ],
          () => selectProfile(profile),
          { "aria-current": profile.id === current?.id && "true" },
        ),
      ),
    ),
    !isKid && [
      actions(
        state.me.profiles.map((profile) => link(`#/profile/${profile.id}`, t("Edit {name}", { name: profile.name }))),
      ),
      h(
        "details",
        {},
        h("summary", {}, t("Add a profile")),
        h("br"),
        form(
          t("Add profile"),
          async ({ name, kids, max_age }) => {
            await api(
              "POST",
              "/profiles",
              { name, kids: kids === "on", max_age: max_age ? Number(max_age) : null },
              idempotent(),
            );
            await refreshSession();
            await show();
          },
          input(t("Name"), "name", { maxlength: 50 }),
          select(t("Titles for"), "max_age", ageOptions(), ""),
          checkbox(t("Kids’ profile: no account, no payments"), "kids"),
        ),
      ),
    ],
  ];
}
export async function profile(id, _, { show }) {
  const details = await api("GET", `/profiles/${id}`);
  const save = async (path, method, body) => {
    await api(method, `/profiles/${id}${path}`, body);
    await refreshSession();
    await show();
  };
  const remove = async () => {
    if (
      !(await ask(
        t("Delete the profile {name}?", { name: details.name }),
        t("Its history and its watchlist go with it."),
        t("Delete"),
      ))
    )
      return;
    await api("DELETE", `/profiles/${id}`);
    await refreshSession();
    location.assign("#/profiles");
  };
  return [
    heading(details.name),
    form(
      t("Save"),
      async ({ name, max_age, kids, autoplay }) => {
        await api("PATCH", `/profiles/${id}`, {
          name,
          kids: kids === "on",
          max_age: max_age ? Number(max_age) : null,
          autoplay: autoplay === "on",
        });
        await refreshSession();
        location.assign("#/profiles");
      },
      input(t("Name"), "name", { maxlength: 50, value: details.name }),
      select(
        t("Titles for"),
        "max_age",
        [
          ...ageOptions(),
          ...(details.max_age && !KIDS_AGES.includes(details.max_age)
            ? [[String(details.max_age), t("Up to {age} years", { age: details.max_age })]]
            : []),
        ],
        String(details.max_age ?? ""),
      ),
      checkbox(t("Kids’ profile: no account, no payments"), "kids", details.kids),
      checkbox(t("Play the next episode automatically"), "autoplay", details.autoplay),
    ),
    section(
      t("PIN"),
      muted(
        details.has_pin
          ? t("The profile opens only with its PIN.")
          : t("With a PIN, children cannot switch to this profile."),
      ),
      form(
        details.has_pin ? t("Change PIN") : t("Set PIN"),
        ({ pin }) => save("/pin", "PUT", { pin }),
        input(t("New PIN: four to eight digits"), "pin", pinInput),
      ),
      details.has_pin && actions(button(t("Remove PIN"), () => save("/pin", "DELETE"))),
    ),
    actions(button(t("Delete profile"), remove), link("#/profiles", t("Back to the profiles"))),
  ];
}
