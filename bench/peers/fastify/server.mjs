// Fastify with better-sqlite3: node server.mjs PORT, in a cluster of STREAMSVC_WORKERS processes.

import cluster from "node:cluster";
import { createHash, createHmac } from "node:crypto";
import { readFileSync } from "node:fs";
import Database from "better-sqlite3";
import Fastify from "fastify";
import { SESSION, TITLES_QUERY } from "./schemas.mjs";

const DAY_MS = 86_400_000;
const LIFETIMES = {
  tv: [365 * DAY_MS, 60 * DAY_MS],
  app: [365 * DAY_MS, 60 * DAY_MS],
  browser: [90 * DAY_MS, 14 * DAY_MS],
  visit: [DAY_MS, DAY_MS / 12],
  impersonation: [DAY_MS / 48, DAY_MS / 48],
};
const ACCESS_STATUSES = ["trialing", "active", "past_due"];
const NO_ENTITLEMENTS = { max_streams: 0, max_height: 0, max_profiles: 5, max_devices: 0, downloads: false, ads: true };
const NO_AGE_LIMIT = 10_000;
const MAX_AGE_WITHOUT_ADULT = 99;
const UNRATED_AGE_GATE = 99;
const PAYMENT_PROVIDER = "sandbox";
const ORDERS = { "-added": "f.title_pk DESC", "-popularity": "f.rank DESC", title: "f.sort_title, f.title_pk" };
const POSITIONS = {
  "-added": (row) => [row.title_pk],
  "-popularity": (row) => [row.rank],
  title: (row) => [row.sort_title, row.title_pk],
};

const port = Number(process.argv[2]);
if (cluster.isPrimary) {
  for (let n = 0; n < Number(process.env.STREAMSVC_WORKERS); n++) cluster.fork();
  process.on("SIGTERM", () => process.exit(0));
} else {
  await build().listen({ port, host: "127.0.0.1" });
}

function build() {
  const db = new Database(process.env.STREAMSVC_DATABASE_URL.replace("sqlite:///", ""), { readonly: true });
  db.pragma("mmap_size=268435456");
  const sql = (name) => readFileSync(new URL(`../sql/${name}.sql`, import.meta.url), "utf8");
  const sessionByToken = db.prepare(sql("session"));
  const titleById = db.prepare(sql("title"));
  const lists = Object.fromEntries(
    Object.entries(ORDERS).map(([sort, order]) => [sort, db.prepare(sql("list").replace("{order}", order))]),
  );
  const facetByCode = db.prepare("SELECT pk FROM facets WHERE kind = 'genre' AND code = ?").pluck();
  const windowsOf = db.prepare("SELECT position, country, starts_at, ends_at FROM title_windows WHERE title_pk = ?");
  const plansOf = db.prepare("SELECT plan_code FROM title_plans WHERE title_pk = ?").pluck();
  const ratingsOf = db.prepare("SELECT country, label, min_age FROM title_age_ratings WHERE title_pk = ?");

  const app = Fastify();
  app.decorateRequest("viewer", null);
  app.addHook("onRequest", async (request, reply) => {
    const [scheme, token = ""] = (request.headers.authorization ?? "").split(" ");
    const tokenHash = createHash("sha256").update(token).digest("hex");
    const rows = scheme === "Bearer" ? sessionByToken.all({ token_hash: tokenHash }) : [];
    request.viewer = rows.length ? readViewer(rows, databaseTime(new Date())) : null;
    if (request.viewer === null) return reply.code(401).send({});
  });

  app.get("/v1/sessions/current", { schema: { response: { 200: SESSION } } }, async (request) =>
    sessionDocument(request.viewer),
  );

  app.get("/v1/catalog/titles", { schema: { querystring: TITLES_QUERY } }, async (request, reply) => {
    const { sort, genre, limit } = request.query;
    const { viewer } = request;
    const facetPk = facetByCode.get(genre);
    if (facetPk === undefined) return reply.code(422).send({});
    const rows = lists[sort].all({
      ...localeParameters(viewer.locales),
      facet_pk: facetPk,
      country: viewer.row.country,
      max_age: viewer.maxAge ?? NO_AGE_LIMIT,
      plans: viewer.entitlements.active ? JSON.stringify(viewer.entitlements.plans) : null,
      now: viewer.now,
      limit: limit + 1,
    });
    const cards = rows
      .slice(0, limit)
      .map((row) => (row.is_rated_here ? rateCard(row.card, row, viewer.row.country) : row.card));
    const cursor = rows.length > limit ? encodeCursor(sort, genre, POSITIONS[sort](rows[limit - 1])) : null;
    return reply
      .type("application/json")
      .send(`{"items":[${cards.join(",")}],"next_cursor":${JSON.stringify(cursor)}}`);
  });

  app.get("/v1/catalog/titles/:id", async (request, reply) => {
    const { viewer } = request;
    const title = titleById.get({ ...localeParameters(viewer.locales), id: request.params.id });
    if (title === undefined) return reply.code(404).send({});
    const ratings = title.rated_per_country ? ratingsOf.all(title.pk) : [];
    const availability = decide(title, viewer, {
      windows: title.windowed ? windowsOf.all(title.pk) : null,
      plans: title.plan_limited ? plansOf.all(title.pk) : null,
      ratings,
    });
    if (availability === null) return reply.code(404).send({});
    if (title.has_extras) throw new Error("extras are not supported");
    const here = ratings.find((rating) => rating.country === viewer.row.country);
    const card = here ? rateCard(title.card, here, here.country) : title.card;
    return reply
      .type("application/json")
      .send(`${card.slice(0, -1)},${title.detail.slice(1, -1)},"availability":${JSON.stringify(availability)}}`);
  });
  return app;
}

function readViewer(rows, now) {
  const row = rows[0];
  const expiresAt = sessionExpiresAt(row);
  if (expiresAt <= now) return null;
  for (const name of ["store_access", "addon_grants", "includes"]) {
    if (![null, "null", "[]"].includes(row[name])) throw new Error(`${name} is not supported`);
  }
  if (rows.some((each) => ![null, "null"].includes(each.restrictions)))
    throw new Error("restrictions are not supported");
  const profileRows = rows.filter((each) => each.profile_id !== null);
  const selected = profileRows.find((each) => each.profile_id === row.selected_profile_id) ?? null;
  const ages = (selected ? [selected] : profileRows)
    .map((each) => each.max_age ?? (each.kids ? MAX_AGE_WITHOUT_ADULT : null))
    .filter((age) => age !== null);
  const parts = ((selected ? selected.language : row.locale) ?? "").split("-").filter(Boolean);
  return {
    row,
    now,
    expiresAt,
    profileRows,
    selected,
    entitlements: computeEntitlements(row, now),
    maxAge: ages.length ? Math.min(...ages) : null,
    locales: [...parts.map((_, index) => parts.slice(0, parts.length - index).join("-")), ""],
  };
}

function computeEntitlements(row, now) {
  const active = ACCESS_STATUSES.includes(row.status) && (row.access_until === null || now < row.access_until);
  if (!active) return { active: false, plan: null, plans: [], until: null, ...NO_ENTITLEMENTS };
  const held = { active: true, plan: row.plan, plans: [row.plan], until: utc(row.access_until) };
  return { ...NO_ENTITLEMENTS, ...JSON.parse(row.features), ...held };
}

function sessionDocument({ row, expiresAt, profileRows, selected, entitlements }) {
  return {
    session: {
      id: row.session_id,
      device: { id: row.device_id, name: row.device_name, kind: row.device_kind },
      profile_id: row.selected_profile_id,
      created_at: utc(row.created_at),
      authenticated_at: utc(row.authenticated_at),
      last_seen_at: utc(row.last_seen_at),
      expires_at: utc(expiresAt),
      current: true,
    },
    guest: false,
    account: {
      id: row.account_id,
      email: row.email,
      email_verified: row.email_verified_at !== null,
      name: row.account_name,
      country: row.country,
      time_zone: row.time_zone,
      locale: row.locale,
      created_at: utc(row.account_created_at),
      store_account_id: storeAccountId(row.account_id),
    },
    profiles: profileRows.map(profileDocument),
    profile: selected && profileDocument(selected),
    subscription: row.subscription_id && {
      id: row.subscription_id,
      status: row.status,
      plan: row.plan,
      price_id: row.price_id,
      period: { start: row.period_start, end: row.period_end },
      trial_end: row.trial_end,
      cancel_at: row.cancel_at,
      paused_at: utc(row.paused_at),
      resumes_at: utc(row.resumes_at),
    },
    entitlements,
    sources: row.subscription_id
      ? [
          {
            subscription_id: row.subscription_id,
            source: row.source ?? PAYMENT_PROVIDER,
            status: row.status,
            plan: row.plan,
            until: utc(row.access_until),
            renews: row.cancel_at === null,
            management_url: null,
          },
        ]
      : [],
    impersonation: row.impersonated_by && { operator: row.impersonated_by, reason: row.impersonation_reason },
  };
}

function profileDocument(row) {
  return {
    id: row.profile_id,
    name: row.profile_name,
    avatar: row.avatar,
    language: row.language,
    kids: Boolean(row.kids),
    max_age: row.max_age,
    autoplay: Boolean(row.autoplay),
    has_pin: Boolean(row.has_pin),
  };
}

/** Return a title's availability, as decided for the viewer; null if it is hidden. Times are those of the database. */
function decide(title, viewer, { windows, plans, ratings }) {
  const { country } = viewer.row;
  const here = ratings.find((rating) => rating.country === country);
  const minAge = here ? here.min_age : title.min_age;
  if (viewer.maxAge !== null && (minAge ?? UNRATED_AGE_GATE) > viewer.maxAge) return null;
  const open = (window) => started(window) && !ended(window);
  const started = (window) => window.starts_at === null || window.starts_at <= viewer.now;
  const ended = (window) => window.ends_at !== null && window.ends_at <= viewer.now;
  const covering = windows?.filter((window) => window.country === "*" || window.country === country);
  const relevant = covering && relevantWindow(covering, open, started);
  return {
    playable: reason() === null,
    reason: reason(),
    starts_at: utc(relevant?.starts_at ?? null),
    ends_at: utc(relevant?.ends_at ?? null),
  };

  function reason() {
    if (viewer.selected === null) return "profile_required";
    if (!viewer.entitlements.active) return "subscription_required";
    if (plans !== null && !plans.some((plan) => viewer.entitlements.plans.includes(plan))) return "not_in_plan";
    if (covering === undefined) return null;
    if (covering.length === 0) return "not_available_in_country";
    if (covering.some(open)) return null;
    return covering.every(ended) ? "no_longer_available" : "not_yet_available";
  }
}

/** Return the open window that ends last; else the next to open; else the last that closed. */
function relevantWindow(windows, open, started) {
  const last = (a, b) => ((a.ends_at ?? "~") >= (b.ends_at ?? "~") ? a : b);
  const next = (a, b) => (a.starts_at <= b.starts_at ? a : b);
  const opened = windows.filter(open);
  const upcoming = windows.filter((window) => !started(window));
  if (opened.length) return opened.reduce(last);
  if (upcoming.length) return upcoming.reduce(next);
  return windows.length ? windows.reduce(last) : undefined;
}

function rateCard(card, rating, country) {
  const shown = { system: country, label: rating.label, min_age: rating.min_age };
  return JSON.stringify({ ...JSON.parse(card), age_rating: shown });
}

/** Return the signed position after the last row of a page, in the format of itsdangerous. */
function encodeCursor(sort, genre, position) {
  const salt = `cursor:titles:${sort}:{'genre': '${genre}'}`;
  const key = createHash("sha1").update(`${salt}signer${process.env.BENCH_CURSOR_KEY}`).digest();
  const body = Buffer.from(JSON.stringify(position)).toString("base64url");
  return `${body}.${createHmac("sha1", key).update(body).digest("base64url")}`;
}

function localeParameters(locales) {
  return { language: locales[0], base_language: locales.at(-2) ?? "" };
}

/** Return when a session expires, in the form of the database: text with microseconds, in UTC. */
function sessionExpiresAt(row) {
  const lifetime = LIFETIMES[row.lifetime];
  if (lifetime === undefined) return row.created_at;
  const [absolute, idle] = [later(row.created_at, lifetime[0]), later(row.last_seen_at, lifetime[1])];
  return absolute < idle ? absolute : idle;
}

function later(time, ms) {
  return databaseTime(new Date(Date.parse(`${time.slice(0, 19)}Z`) + ms)).slice(0, 19) + time.slice(19);
}

function databaseTime(date) {
  return `${date.toISOString().slice(0, -1).replace("T", " ")}000`;
}

function utc(time) {
  return time === null ? null : `${time.replace(" ", "T").replace(/[.]000000$/, "")}Z`;
}

/** Return the UUID of an account's id, which is 26 digits of base 32. */
function storeAccountId(id) {
  let number = 0n;
  for (const digit of id.slice(4)) number = number * 32n + BigInt(parseInt(digit, 32));
  const digits = BigInt.asUintN(128, number).toString(16).padStart(32, "0");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}
