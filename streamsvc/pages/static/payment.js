// Stripe's payment form. The storefront imports this module at a checkout where the service uses Stripe.
import { language, t } from "./i18n.js";

const LOAD_TIMEOUT_MS = 20_000;
const SHOWN_AS_IS = ["card_error", "validation_error"]; // Stripe writes the messages of these errors for the customer
let loading = null;

// Loads the script from Stripe's host, as Stripe requires, once; a failed attempt can be repeated.
export function loadStripe({ script_url, publishable_key }) {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    const fail = () => {
      script.remove();
      loading = null;
      reject(
        new Error(
          t(
            "The payment form could not be loaded. Check your connection and whether your browser blocks js.stripe.com, then try again.",
          ),
        ),
      );
    };
    const timer = setTimeout(fail, LOAD_TIMEOUT_MS);
    script.onload = () => {
      clearTimeout(timer);
      resolve(window.Stripe(publishable_key, { locale: language }));
    };
    script.onerror = () => {
      clearTimeout(timer);
      fail();
    };
    script.src = script_url;
    document.head.append(script);
  });
  return loading;
}

// A form for a card or its wallet, mounted into `box`. `confirm` sets the card up and returns the id of the setup.
export async function createCardForm(config, currency, box) {
  const stripe = await loadStripe(config);
  const elements = stripe.elements({
    mode: "setup",
    currency: currency.toLowerCase(),
    setupFutureUsage: "off_session",
    allowedPaymentMethodTypes: ["card"],
    appearance: appearance(),
  });
  const offer = (wallet) => (config.wallets.includes(wallet) ? "auto" : "never");
  const element = elements.create("payment", {
    wallets: { applePay: offer("apple_pay"), googlePay: offer("google_pay") },
  });
  const ready = new Promise((resolve, reject) => {
    element.on("ready", resolve);
    element.on("loaderror", ({ error }) => reject(formError(error)));
  });
  element.mount(box);
  await ready;
  return {
    async confirm(startSetup, returnUrl) {
      const { error: invalid } = await elements.submit();
      if (invalid) throw formError(invalid);
      const { client_secret } = await startSetup();
      const { error, setupIntent } = await stripe.confirmSetup({
        elements,
        clientSecret: client_secret,
        confirmParams: { return_url: returnUrl },
        redirect: "if_required",
      });
      if (error) throw formError(error);
      return setupIntent.id;
    },
  };
}

// Opens the bank's window for a payment. What comes of it, the service asks Stripe.
export async function authenticate(config, clientSecret) {
  const stripe = await loadStripe(config);
  await stripe.handleNextAction({ clientSecret });
}

function formError({ type, code, decline_code, message }) {
  const text =
    SHOWN_AS_IS.includes(type) && message
      ? message
      : t("The payment form reported a problem. Try again, or use another card.");
  return Object.assign(new Error(text), { decline_code: decline_code ?? code });
}

// The page's own colours, since the form is in a frame that its style sheet does not reach.
function appearance() {
  const probe = document.body.appendChild(document.createElement("span"));
  const colour = (name) => {
    probe.style.color = `var(--${name})`;
    return getComputedStyle(probe).color;
  };
  const variables = {
    colorPrimary: colour("accent"),
    colorBackground: colour("surface"),
    colorText: colour("text"),
    colorTextSecondary: colour("muted"),
    colorDanger: colour("error"),
    borderRadius: "8px",
    fontFamily: "system-ui, sans-serif",
    fontSizeBase: getComputedStyle(document.documentElement).fontSize,
  };
  probe.remove();
  return { theme: "flat", variables };
}
