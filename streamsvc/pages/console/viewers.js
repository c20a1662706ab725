// Finding a viewer by whatever is known: part of the email address or name, an id, an invoice number, a card's last digits.
import { badge, h, link, status, time } from "./dom.js";
import { form, input } from "./form.js";
import { table } from "./table.js";

export default async function viewers({ parameters }) {
  const q = parameters.get("q") ?? "";
  const search = form(
    "Find",
    ({ q }) => {
      location.hash = q ? `#/viewers?q=${encodeURIComponent(q)}` : "#/viewers";
    },
    [
      input("Find a viewer", "q", {
        type: "search",
        value: q,
        required: false,
        autocomplete: "off",
        autofocus: !q,
        maxlength: 100,
        hint: "Part of the email or name, an id, an invoice or store order number, or a card's last four digits.",
      }),
    ],
    { inline: true },
  );
  const found = await table({
    title: "Viewers",
    path: "/admin/accounts",
    parameters: { q },
    empty: q ? "No match. Try a shorter part of the name, or another clue." : "Nobody has signed up yet.",
    columns: [
      { name: "Email", value: (row) => row.email, cell: (row) => link(`#/viewer/${row.id}`, row.email ?? row.id) },
      { name: "Name", value: (row) => row.name },
      { name: "Country", value: (row) => row.country },
      {
        name: "State",
        value: (row) => row.status,
        cell: (row) => [
          status(row.status),
          !row.email_verified && " ",
          !row.email_verified && badge("email not confirmed"),
        ],
      },
      { name: "Since", value: (row) => row.created_at, cell: (row) => time(row.created_at) },
    ],
  });
  const heading = h("h1", {}, q ? `Viewers: ${q}` : "Viewers");
  return [heading, h("div", { role: "search" }, search), found];
}
