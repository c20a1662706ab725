"""Number series of each legal entity and year, and invoices over nothing, which have no number."""

import threading

import pytest

from tests.worlds.billing_world import World

FRANCE = {
    "name": "Streamhaus France SAS",
    "street": "12 rue de la Paix",
    "postal_code": "75002",
    "city": "Paris",
    "country": "FR",
    "vat_id": "FR40303265045",
    "prefix": "FR",
    "time_zone": "Europe/Paris",
    "countries": ["FR", "BE"],
}


@pytest.fixture
def configure(app, monkeypatch):
    """Return a function that changes settings."""

    def replace_settings(**changes):
        monkeypatch.setitem(app.extensions, "settings", app.extensions["settings"].replace(**changes))

    return replace_settings


@pytest.fixture
def world(app):
    world = World(app)
    yield world
    assert world.differences() == []


def put_entity(world, code="france", **changes):
    return world.operator.put(f"/v1/admin/legal-entities/{code}", FRANCE | changes)


def numbers(*people):
    return [invoice["number"] for person in people for invoice in person.invoices()]


def credit(world, person, amount_minor=100):
    path = f"/v1/admin/invoices/{person.invoices()[0]['id']}/credit-notes"
    return world.operator.post(path, {"amount_minor": amount_minor, "reason": "outage"}).json["number"]


def test_each_legal_entity_and_year_has_a_series_of_its_own(world):
    assert put_entity(world).status_code == 200
    price = world.plan("standard", 1000, currency="EUR")
    ann, bob, cid = world.person("DE"), world.person("FR"), world.person("BE")
    for person in (ann, bob, cid):
        person.subscribe(price)
    assert numbers(ann, bob, cid) == ["2026-000001", "FR-2026-000001", "FR-2026-000002"]
    assert [credit(world, person) for person in (ann, bob, cid)] == [
        "CN-2026-000001",
        "CN-FR-2026-000001",
        "CN-FR-2026-000002",
    ]
    sellers = [person.invoices()[0]["seller"] for person in (ann, bob)]
    assert sellers[0] is None and (sellers[1]["code"], sellers[1]["vat_id"]) == ("france", "FR40303265045")
    world.go_to("2027-01-15T12:00:00")
    assert [numbers(person)[-1] for person in (ann, bob, cid)] == ["2027-000001", "FR-2027-000001", "FR-2027-000002"]


def test_the_year_is_that_of_the_sellers_time_zone(world, configure):
    """New Year begins in Paris an hour before UTC, and in Honolulu ten hours after."""
    put_entity(world)
    world.go_to("2026-12-31T23:30:00")
    price = world.plan("standard", 1000, currency="EUR")
    ann, bob = world.person("DE"), world.person("FR")
    ann.subscribe(price)
    bob.subscribe(price)
    assert numbers(ann, bob) == ["2026-000001", "FR-2027-000001"]
    world.go_to("2027-01-01T09:00:00")
    configure(seller_time_zone="Pacific/Honolulu", invoice_prefix="US")
    cid = world.person("DE")
    cid.subscribe(price)
    assert numbers(cid) == ["US-2026-000001"]


def test_credit_notes_can_share_the_invoices_series(world, configure):
    configure(credit_note_series="shared")
    ann = world.person("DE")
    ann.subscribe(world.plan("standard", 1000, currency="EUR"))
    assert credit(world, ann) == "2026-000002"
    bob = world.person("DE")
    bob.subscribe(world.plan("other", 1000, currency="EUR"))
    assert numbers(bob) == ["2026-000003"]


@pytest.mark.every_database
def test_numbers_of_an_entity_have_no_gap_when_many_are_taken_at_once(world):
    put_entity(world)
    price = world.plan("standard", 1000, currency="EUR")
    people = [world.person(country) for country in ("FR", "DE") * 4]
    threads = [threading.Thread(target=person.subscribe, args=(price,)) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(numbers(*people[::2])) == [f"FR-2026-{number:06d}" for number in range(1, 5)]
    assert sorted(numbers(*people[1::2])) == [f"2026-{number:06d}" for number in range(1, 5)]


@pytest.mark.parametrize("prefix", ["CN", "2026", "fr", "FR-1", "", "ABCDEFGHIJK"])
def test_a_prefix_that_could_be_mistaken_is_rejected(world, prefix):
    response = put_entity(world, prefix=prefix)
    assert (response.status_code, list(response.json["errors"])) == (422, ["prefix"])


def test_a_country_and_a_prefix_belong_to_one_entity(world, configure):
    configure(invoice_prefix="DE")
    assert put_entity(world).status_code == 200
    for changes, field in (
        ({"prefix": "BE"}, "countries"),
        ({"countries": []}, "prefix"),
        ({"prefix": "DE", "countries": []}, "prefix"),
        ({"prefix": "BE", "countries": [], "vat_id": "FR40303265046"}, "vat_id"),
    ):
        response = put_entity(world, "belgium", **changes)
        assert (response.status_code, list(response.json["errors"])) == (422, [field])
    assert put_entity(world, countries=["FR"]).json["countries"] == ["FR"]
    assert put_entity(world, "belgium", prefix="BE", countries=["BE"], vat_id=None).status_code == 200
    listed = world.operator.get("/v1/admin/legal-entities").json["items"]
    assert [(entity["code"], entity["countries"]) for entity in listed] == [("belgium", ["BE"]), ("france", ["FR"])]


def test_an_entity_that_issued_something_stays(world):
    put_entity(world)
    put_entity(world, "spare", prefix="SP", countries=[])
    bob = world.person("FR")
    bob.subscribe(world.plan("standard", 1000, currency="EUR"))
    response = world.operator.delete("/v1/admin/legal-entities/france")
    assert (response.status_code, response.json["code"]) == (409, "wrong_state")
    assert world.operator.delete("/v1/admin/legal-entities/spare").status_code == 204
    assert world.operator.get("/v1/admin/legal-entities/spare").status_code == 404
    assert put_entity(world, countries=[], name="Renamed").status_code == 200
    assert bob.invoices()[0]["seller"]["name"] == "Streamhaus France SAS"
    world.go_to("2026-02-15T12:00:00")
    assert numbers(bob) == ["FR-2026-000001", "2026-000001"]


def test_an_invoice_over_nothing_has_lines_but_no_number_and_no_documents(world):
    world.operator.put("/v1/admin/coupons/all", {"percent_off": 100, "duration": "once"})
    ann, bob = world.person("DE"), world.person("DE")
    price = world.plan("standard", 1000, currency="EUR")
    ann.subscribe(price, coupon="all")
    bob.subscribe(price)
    [free] = ann.invoices()
    assert (free["number"], free["status"], free["total_minor"], len(free["lines"])) == (None, "paid", 0, 2)
    assert free["issued_at"] is not None and numbers(bob) == ["2026-000001"]
    for form in ("html", "pdf", "xml"):
        response = ann.get(f"/v1/invoices/{free['id']}/{form}")
        assert (response.status_code, response.json["code"]) == (409, "no_document")
    issued = [
        event for event in world.operator.get("/v1/admin/events").json["items"] if event["kind"] == "invoice.issued"
    ]
    assert [event["data"]["invoice_id"] for event in issued] == [bob.invoices()[0]["id"]]
    world.go_to("2026-02-15T12:00:00")
    assert sorted(numbers(ann, bob)[1:]) == ["2026-000001", "2026-000002", "2026-000003"]


def test_a_trial_is_not_numbered_and_still_used_up(world):
    price = world.plan("standard", 1000, currency="EUR", trial_days=7)
    ann = world.person("DE")
    ann.subscribe(price)
    assert [(invoice["number"], invoice["lines"][0]["kind"]) for invoice in ann.invoices()] == [(None, "trial")]
    ann.post(f"/v1/subscriptions/{ann.subscription()['id']}/cancellation", {"when": "now"})
    ann.subscribe(price)
    assert ann.invoices()[-1]["total_minor"] == 1000


def test_a_setting_numbers_invoices_over_nothing(world, configure):
    configure(number_empty_invoices=True)
    ann = world.person("DE")
    ann.subscribe(world.plan("standard", 1000, currency="EUR", trial_days=7))
    assert numbers(ann) == ["2026-000001"]
    assert ann.get(f"/v1/invoices/{ann.invoices()[0]['id']}/html").status_code == 200
