// The console: which room the URL's fragment names, and who may enter it.
import { can, get, session } from "./api.js";
import { $, button, h, link, notify } from "./dom.js";
import { account, invitation, signIn, signOut } from "./session.js";

// The scopes are those of the API calls that a room consists of; one of them opens it.
const ROOMS = {
  "": { name: "Today", scopes: ["billing", "support", "playback", "admin"], load: () => import("./today.js") },
  viewers: { name: "Viewers", scopes: ["support"], load: () => import("./viewers.js") },
  viewer: { room: "viewers", scopes: ["support"], load: () => import("./viewer.js") },
  catalog: { name: "Catalogue", scopes: ["catalog"], load: () => import("./catalog.js") },
  money: { name: "Money", scopes: ["billing"], load: () => import("./money.js") },
  running: { name: "Running it", scopes: ["admin", "playback"], load: () => import("./running.js") },
};
const OPEN_PAGES = { "operator-invitation": invitation };
const OWN_PAGES = { account };
const main = $("main");
let visit = 0; // counts page changes, so that a slow page cannot replace a later one

const mayEnter = ({ scopes }) => scopes.some((scope) => can(scope));

export async function show() {
  const current = ++visit;
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = path.split("/").map(decodeURIComponent);
  const parameters = new URLSearchParams(query);
  let nodes;
  try {
    nodes = await page(name, rest, parameters);
  } catch (error) {
    nodes = [
      h("h1", {}, "Something went wrong"),
      h("p", { class: "error" }, error.message),
      h("p", { class: "actions" }, button("Try again", show)),
    ];
  }
  if (current !== visit || nodes === undefined) return;
  main.replaceChildren(...[nodes].flat(Infinity).filter(Boolean));
  drawHeader(name);
  const heading = main.querySelector("h1");
  const tab = main.querySelector(".tabs [aria-current]");
  tab?.scrollIntoView({ block: "nearest", inline: "nearest" });
  document.title = [tab?.textContent, heading?.textContent, "streamsvc console"].filter(Boolean).join(" – ");
  const focused = main.querySelector("[autofocus]") ?? heading;
  if (focused === heading) heading?.setAttribute("tabindex", "-1");
  scrollTo(0, 0);
  focused?.focus();
}

async function page(name, rest, parameters) {
  if (OPEN_PAGES[name]) return OPEN_PAGES[name](parameters);
  if (!session.me) return signIn(show);
  if (OWN_PAGES[name]) return OWN_PAGES[name](show);
  const room = ROOMS[name];
  if (!room) return [h("h1", {}, "Page not found"), link("#/", "Today")];
  if (!mayEnter(room)) {
    const first = Object.keys(ROOMS).find((key) => ROOMS[key].name && mayEnter(ROOMS[key]));
    if (!name && first) {
      location.replace(`#/${first}`);
      return undefined;
    }
    return [
      h("h1", {}, "Not in your role"),
      h("p", {}, `Your role, ${session.me.operator.role}, does not include this page. An admin can change it.`),
    ];
  }
  main.setAttribute("aria-busy", "true");
  try {
    return await (await room.load()).default({ rest, parameters, show });
  } finally {
    main.removeAttribute("aria-busy");
  }
}

function drawHeader(name) {
  $("header").hidden = !session.me;
  if (!session.me) return;
  const current = ROOMS[name]?.room ?? name;
  const tab = (key, text) => link(`#/${key}`, text, { "aria-current": key === current && "page" });
  $("rooms").replaceChildren(
    ...Object.entries(ROOMS)
      .filter(([, room]) => room.name && mayEnter(room))
      .map(([key, room]) => tab(key, room.name)),
  );
  $("own").replaceChildren(
    tab("account", session.me.operator.name),
    button("Sign out", () => signOut(show), { class: "quiet" }),
  );
  $("rooms").querySelector("[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

session.onEnd = () => {
  session.me = null;
  notify("Your session has ended. Sign in again.");
  show();
};
session.me = await get("/admin/sessions/current").catch((error) => {
  if (error.status !== 401) notify(error.message);
  return null;
});
if (session.me && !session.me.csrf_token) session.me = null;
addEventListener("hashchange", () => {
  document.querySelectorAll("dialog").forEach((dialog) => dialog.close());
  show();
});
await show();
