// What the page says for the codes of the API. A code that is not here is shown with the API's own sentence.
import { language, t } from "./i18n.js";

export const ACCESS_MESSAGES = {
  subscription_required: t("Choose a plan to watch this."),
  not_in_plan: t("This is not included in your plan; upgrade to watch it."),
  profile_required: t("Choose a profile first."),
  country_unknown: t("We cannot determine which country you are in."),
  not_available_in_country: t("This is not available in your country."),
  not_yet_available: t("This is not available yet."),
  no_longer_available: t("This is no longer available."),
  programme_restricted: t("You may not watch the programme that is on now."),
  outside_viewing_hours: t("This profile may not watch at this time."),
  vpn_not_allowed: t("Turn off your VPN or proxy to watch."),
};
export const STREAM_END_MESSAGES = {
  ...ACCESS_MESSAGES,
  stopped_by_viewer: t("Somebody in your household stopped it."),
  stopped_by_operator: t("The service stopped it."),
  profile_deleted: t("Its profile was deleted."),
  replaced: t("Another screen took its place."),
  taken_over: t("You are watching it in another window now."),
  expired: t("The connection was lost for too long."),
  signed_out: t("You were signed out."),
  inactive: t("Nobody seemed to be watching."),
};
const DECLINES = {
  insufficient_funds: t("The card does not have enough money for this. Use another card."),
  expired_card: t("The card has expired. Use another card."),
  incorrect_cvc: t("The security code of the card is wrong. Check it, then try again."),
  payment_method_required: t("Add a card first."),
  authentication_failed: t("Your bank did not confirm the payment. Try again, or use another card."),
};
for (const code of [
  "payment_intent_authentication_failure",
  "setup_intent_authentication_failure",
  "authentication_abandoned",
  "authentication_required",
  "abandoned",
])
  DECLINES[code] = DECLINES.authentication_failed;
export const declineMessage = (code) => DECLINES[code];

const ERRORS = {
  invalid_credentials: t("The email address or the password is incorrect."),
  email_taken: t("There is already an account with this email address. Sign in instead."),
  too_many_attempts: t("Too many attempts. Wait a while, then try again."),
  payment_failed: t("The payment was declined; try another card."),
  already_subscribed: t("You already have a plan; change it instead."),
  pin_invalid: t("The PIN is wrong."),
  pin_locked: t("Too many wrong PINs. Wait a while, then try again."),
  profile_limit: t("Your plan has no room for another profile."),
  device_limit: t("Your plan’s device limit is reached. Remove a device under Account first."),
  stream_limit: t("Too many screens are playing at once."),
  token_invalid: t("This link is unknown, already used or expired."),
  unavailable: t("The service is busy. Try again shortly."),
};
// In English, the API's own sentences are more exact.
export const errorMessage = ({ code }) => (language === "en" ? undefined : ERRORS[code]);
