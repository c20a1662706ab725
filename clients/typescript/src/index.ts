export { Client } from "./client.js";
export type { Arguments, ClientOptions, Item, ListName, Name, Result } from "./client.js";
export { ApiError, NoResponseError } from "./errors.js";
export { verifyWebhook, WebhookError } from "./webhooks.js";
export type { WebhookEvent } from "./webhooks.js";
export type { Problems } from "./generated/operations.js";
export type { components, operations, paths } from "./generated/api.js";
