// The JSON schemas by which Fastify validates queries and serializes sessions.

const text = { type: "string" };
const optionalText = { type: "string", nullable: true };
const integer = { type: "integer" };
const boolean = { type: "boolean" };
const object = (properties, nullable = false) => ({ type: "object", nullable, properties });
const arrayOf = (items) => ({ type: "array", items });

const profile = {
  id: text,
  name: text,
  avatar: optionalText,
  language: optionalText,
  kids: boolean,
  max_age: { type: "integer", nullable: true },
  autoplay: boolean,
  has_pin: boolean,
};

export const SESSION = object({
  session: object({
    id: text,
    device: object({ id: text, name: text, kind: text }),
    profile_id: optionalText,
    created_at: text,
    authenticated_at: text,
    last_seen_at: text,
    expires_at: text,
    current: boolean,
  }),
  guest: boolean,
  account: object({
    id: text,
    email: text,
    email_verified: boolean,
    name: optionalText,
    country: text,
    time_zone: text,
    locale: text,
    created_at: text,
    store_account_id: text,
  }),
  profiles: arrayOf(object(profile)),
  profile: object(profile, true),
  subscription: object(
    {
      id: text,
      status: text,
      plan: text,
      price_id: text,
      period: object({ start: optionalText, end: optionalText }),
      trial_end: optionalText,
      cancel_at: optionalText,
      paused_at: optionalText,
      resumes_at: optionalText,
    },
    true,
  ),
  entitlements: object({
    active: boolean,
    plan: optionalText,
    plans: arrayOf(text),
    until: optionalText,
    max_streams: integer,
    max_height: integer,
    max_profiles: integer,
    max_devices: integer,
    downloads: boolean,
    ads: boolean,
  }),
  sources: arrayOf(
    object({
      subscription_id: text,
      source: text,
      status: text,
      plan: text,
      until: optionalText,
      renews: boolean,
      management_url: optionalText,
    }),
  ),
  impersonation: object({ operator: text, reason: optionalText }, true),
});

export const TITLES_QUERY = {
  type: "object",
  required: ["genre"],
  properties: {
    genre: text,
    sort: { enum: ["-added", "-popularity", "title"], default: "-added" },
    limit: { type: "integer", minimum: 1, maximum: 100, default: 24 },
  },
};
