"""The console's money: plans, prices, coupons, gift codes, taxes, invoices, as its dialogs say."""

import pytest

from tests.worlds.browser import launch_chromium
from tests.worlds.console_steps import ALL_PAGES, DESKTOP, act, listed, open_page

pytestmark = [
    pytest.mark.either_database,
    pytest.mark.skipif(not ALL_PAGES, reason="make browser runs it"),
]


def plan_of(world, code):
    return next(plan for plan in world.admin.get("/v1/plans").json["items"] if plan["code"] == code)


def test_plans_coupons_gift_codes_prices_and_taxes_are_stored_as_the_dialogs_say(world):
    local = [{"currency": "USD", "amount_minor": 999, "tax": "exclusive", "countries": [c]} for c in ("US", "CA")]
    product = {"source": "app_store", "product_id": "tv.standard"}
    body = plan_of(world, "standard") | {"store_products": [product]}
    stored = world.admin.put("/v1/admin/plans/standard", {**body, "prices": [*body["prices"], *local]})
    assert stored.status_code == 200, stored.json
    with launch_chromium() as browser:
        page = world.context(browser, "admin", viewport=DESKTOP).new_page()
        open_page(world, page, "money/plans")
        plan = {"Code": "family", "Name": "Family", "Streams at once": "4", "Prices": "1999 EUR month 1 14"}
        act(page, "New plan", "Save", "Family is sold at €19.99 a month, 14 days of trial.", plan)
        family = plan_of(world, "family")
        assert (family["features"]["max_streams"], family["prices"][0]["trial_days"]) == (4, 14)
        before = plan_of(world, "standard")
        act(page, "Edit Standard", "Save", "Standard TV is sold at", {"Name": "Standard TV"})
        assert plan_of(world, "standard") == before | {"name": "Standard TV"}, "what was not edited stays"
        lines = "1099 EUR month 1 0 inclusive\n999 USD month 1 0 exclusive CA"
        text = act(page, "Edit Standard TV", "Save", "€10.99 a month", {"Prices": lines})
        assert "US$9.99 a month, CA" in text
        terms = [(p["amount_minor"], p["tax"], p["countries"]) for p in plan_of(world, "standard")["prices"]]
        assert sorted(terms) == [(999, "exclusive", ["CA"]), (1099, "inclusive", None)]

        act(page, "Edit Premium", "Save", "Premium is not on sale: it has no price.", {"Prices": ""})
        act(page, "New plan", "Save", "Never is not on sale", {"Code": "never", "Name": "Never", "Prices": ""})
        item = lambda name: page.get_by_role("listitem").filter(has=page.get_by_text(name, exact=True))  # noqa: E731
        assert "not on sale\nIts last price was withdrawn on" in item("Premium").inner_text()
        assert "not on sale\nIt has never had a price. Add one to sell it." in item("Never").inner_text()
        assert item("Family").get_by_text("not on sale").count() == 0
        assert [plan["code"] for plan in world.admin.get("/v1/plans").json["items"]] == ["standard", "family"]

        open_page(world, page, "money/coupons")
        percent = {
            "Code": "SPRING",
            "Percent off": "20",
            "For": "repeating",
            "Periods": "3",
            "Redemptions at most": "9",
        }
        act(page, "New coupon", "Create", "SPRING takes 20 % off.", percent, steps=())
        act(
            page,
            "New coupon",
            "Create",
            "FIVE takes €5.00 off.",
            {"Code": "FIVE", "Amount off": "5", "Its currency": "EUR"},
            steps=(),
        )
        change = {"Redemptions at most": "10", "Expires": "2031-01-01T00:00"}
        act(page, "Change", "Save", "SPRING is changed.", change, steps=(), row="SPRING")
        coupons = {coupon["code"]: coupon for coupon in listed(world, "coupons")}
        spring = coupons["SPRING"]
        assert (float(spring["percent_off"]), spring["periods"], spring["max_redemptions"]) == (20, 3, 10)
        assert spring["expires_at"] == "2031-01-01T00:00:00Z"
        assert (coupons["FIVE"]["amount_off_minor"], coupons["FIVE"]["max_redemptions"]) == (500, None)

        open_page(world, page, "money/gifts")
        gifts = {"Amount": "25", "Currency": "EUR", "How many": "2"}
        text = act(page, "New gift codes", "Create", "2 codes, shown only now", gifts)
        assert [(code["amount_minor"], code["currency"]) for code in listed(world, "gift-codes")] == [(2500, "EUR")] * 2
        redeemed = world.viewers["cleo"].post(
            "/v1/gift-redemptions", {"code": text.split("shown only now:")[1].split()[0]}
        )
        assert redeemed.status_code in (200, 201), redeemed.json

        open_page(world, page, "money/changes")
        old, new = world.viewers["ann"].subscription["price"]["id"], plan_of(world, "family")["prices"][0]["id"]
        page.get_by_role("button", name="Change a price").click()
        choices = page.get_by_role("dialog").get_by_label("To", exact=True).get_by_role("option").all_inner_texts()
        assert len(choices) == 3 and not any("Premium" in choice for choice in choices)
        withdrawn = page.locator("#prices option", has_text="Premium: €14.99 a month, no longer sold")
        assert withdrawn.count() == 1
        page.get_by_role("button", name="Cancel").click()
        notice = {"From price": old, "To": new, "Effective": "2031-01-01", "Days of notice": "45"}
        text = act(page, "Change a price", "Announce it", "3 subscriptions move on or after 1 Jan 2031.", notice)
        [migration] = listed(world, "price-migrations")
        assert (migration["from_price_id"], migration["to_price_id"], migration["notice_days"]) == (old, new, 45)
        act(page, "Withdraw", "Withdraw", "The price change is withdrawn.", steps=())
        assert listed(world, "price-migrations")[0]["withdrawn_at"]

        open_page(world, page, "money/taxes")
        rate = {"Country": "DE", "Percent": "19", "Name": "VAT"}
        act(page, "New tax rate", "Save", "DE: 19 % VAT, from the next invoice on.", rate, steps=())
        act(page, "Change", "Save", "DE: 20.5 % VAT", {"Percent": "20.5"}, steps=(), row="DE")
        [rate] = listed(world, "tax-rates")
        assert (rate["country"], float(rate["percent"]), rate["category"]) == ("DE", 20.5, "standard")

        held = world.viewers["bob"].subscription["id"]
        assert world.admin.put(f"/v1/admin/subscriptions/{held}/parking", {"reason": "a doubt"}).status_code == 200
        open_page(world, page, "money/holds")
        page.get_by_role("row").filter(has_text="a doubt").get_by_role("button", name="Release").click()
        page.get_by_text("The hold is released").wait_for()
        assert world.admin.get(f"/v1/admin/subscriptions/{held}").json["parked_at"] is None

        open_page(world, page, "money/invoices")
        act(
            page,
            "Refund",
            "Refund",
            "is refunded (succeeded)",
            {"Amount": "2", "Reason": "late"},
            row="cleo@example.com",
        )
        refunded = [
            (invoice["customer"]["email"], payment["refunded_minor"])
            for invoice in listed(world, "invoices")
            for payment in invoice["payments"]
            if payment["refunded_minor"]
        ]
        assert refunded == [("cleo@example.com", 200)]
