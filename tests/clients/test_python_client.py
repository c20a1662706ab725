"""clients/python against a running service: its calls, retries, pages, tokens and errors."""

import asyncio
import base64
import subprocess
import sys
import threading
import time

import pytest

from streamsvc.rules.webhooks import sign_message
from tests.clients.conftest import new_email
from tests.worlds.flaky_proxy import LOSE_REQUEST, LOSE_RESPONSE, Refusal

BUSY = Refusal(503, retry_after="1")
PROBLEM = b'{"code": "too_many_attempts", "detail": "Too many attempts.", "status": 429, "challenge": false}'
EVENT = b'{"type": "invoice.issued", "timestamp": "2026-03-08T12:00:00Z", "data": {"status": "open"}}'
SECRET = "whsec_" + base64.b64encode(b"the secret of the endpoint").decode()


@pytest.fixture
def api(python_package):
    import streamsvc_client

    return streamsvc_client


@pytest.fixture
def viewer(api, site):
    """A client that is signed up, straight at the service."""
    with api.Client(site.url) as client:
        client.email = new_email()
        client.create_account({"email": client.email, "password": "seven red herons", "country": "DE"})
        yield client


@pytest.fixture
def through_proxy(api, proxy, viewer):
    """The same viewer's client through the proxy."""
    with api.Client(proxy.url, viewer.token) as client:
        yield client


def sign_in(viewer):
    """Return the token of another session of the viewer."""
    token = viewer.token
    result = viewer.create_session({"email": viewer.email, "password": "seven red herons"})
    viewer.token = token
    return result["token"]


def test_a_viewer_signs_up_subscribes_plays_and_cancels(viewer, site):
    [plan] = viewer.iter_plans(country="DE", currency="EUR")
    viewer.create_payment_method({"token": "pm_card_visa"})
    subscription = viewer.create_subscription({"price_id": plan["prices"][0]["id"]})
    assert subscription["status"] == "active"
    title = viewer.list_titles(kind="movie", year_gte=1995, limit=1)["items"][0]
    assert title["year"] >= 1995
    stream = viewer.start_playback({"item_id": title["id"]})
    beat = viewer.send_heartbeat(stream["stream_id"], {"position_s": 30, "state": "playing"})
    assert beat["current"] == 1
    assert viewer.stop_stream(stream["stream_id"]) is None
    invoice = next(viewer.iter_invoices())
    assert viewer.get_invoice_pdf(invoice["id"]).startswith(b"%PDF")
    canceled = viewer.cancel_subscription(subscription["id"], {"when": "period_end"})
    assert canceled["cancel_at"] and viewer.get_subscription(subscription["id"])["cancel_at"]


def test_the_asynchronous_client_does_the_same(api, site, proxy):
    async def walk():
        async with api.AsyncClient(proxy.url) as client:
            proxy.faults.append(BUSY)
            await client.create_account({"email": new_email(), "password": "seven red herons", "country": "DE"})
            await client.create_payment_method({"token": "pm_card_visa"})
            proxy.faults.extend([LOSE_RESPONSE, LOSE_REQUEST])
            subscription = await client.create_subscription({"price_id": site.price})
            ids = [title["id"] async for title in client.iter_titles(limit=7)]
            titles = await asyncio.gather(*[client.get_title(each) for each in ids[:5]])
            stream = await client.start_playback({"item_id": ids[0]})
            await client.send_heartbeat(stream["stream_id"], {"position_s": 1, "state": "playing"})
            with pytest.raises(api.AlreadySubscribedError):
                await client.create_subscription({"price_id": site.price})
            canceled = await client.cancel_subscription(subscription["id"], {"when": "now"})
            return ids, titles, canceled

    ids, titles, canceled = asyncio.run(walk())
    assert len(set(ids)) == 30 and [title["id"] for title in titles] == ids[:5]
    assert canceled["status"] == "canceled"


def test_the_asynchronous_client_renews_a_token_once_for_all_tasks(api, viewer, proxy):
    expired, fresh, renewals = sign_in(viewer), sign_in(viewer), []

    async def renew():
        renewals.append(1)
        await asyncio.sleep(0.05)
        return fresh

    async def call():
        async with api.AsyncClient(proxy.url, expired, renew_token=renew) as client:
            return await asyncio.gather(*[client.get_account() for _ in range(4)])

    with api.Client(proxy.url, expired) as doomed:
        doomed.delete_current_session()
    assert len(asyncio.run(call())) == 4 and renewals == [1]


def test_all_pages_of_a_list_are_iterated_and_only_those_that_are_needed(through_proxy, proxy):
    titles = [title["title"] for title in through_proxy.iter_titles(sort="title", limit=4)]
    assert sorted(titles) == sorted(f"Film {n}" for n in range(30))
    assert len([each for each in proxy.seen if "/catalog/titles" in each.path]) == 8
    proxy.seen.clear()
    pages = through_proxy.iter_titles(limit=4)
    assert len([next(pages) for _ in range(5)]) == 5 and len(proxy.seen) == 2


def test_a_busy_service_is_asked_again_after_the_time_that_it_names(through_proxy, proxy):
    proxy.faults.extend([BUSY, Refusal(429, "1", PROBLEM)])
    assert through_proxy.get_account()["country"] == "DE"
    first, second, third = [each.at_s for each in proxy.seen]
    assert second - first >= 1 and third - second >= 1


def test_a_date_may_say_when_to_come_back(through_proxy, proxy):
    from email.utils import formatdate

    proxy.faults.append(Refusal(503, formatdate(time.time() + 2, usegmt=True)))
    through_proxy.get_account()
    assert proxy.seen[1].at_s - proxy.seen[0].at_s >= 0.9


def test_a_long_wait_is_an_error_at_once(api, through_proxy, proxy):
    proxy.faults.append(Refusal(429, "3600", PROBLEM))
    with pytest.raises(api.TooManyAttemptsError) as caught:
        through_proxy.get_account()
    assert (caught.value.retry_after_s, caught.value.status, caught.value.challenge) == (3600, 429, False)
    assert len(proxy.seen) == 1


def test_what_stays_busy_is_an_error_after_the_last_retry(api, proxy, viewer):
    proxy.faults.extend([Refusal(503)] * 3)
    with api.Client(proxy.url, viewer.token, max_retries=2) as client, pytest.raises(api.ApiError) as caught:
        client.get_account()
    assert (caught.value.status, caught.value.code, caught.value.errors) == (503, None, {}) and len(proxy.seen) == 3


def test_a_post_whose_response_is_lost_acts_once(through_proxy, viewer, site, proxy):
    through_proxy.create_payment_method({"token": "pm_card_visa"})
    proxy.seen.clear()
    proxy.faults.extend([LOSE_RESPONSE, Refusal(503), LOSE_REQUEST])
    subscription = through_proxy.create_subscription({"price_id": site.price})
    assert [each.method for each in proxy.seen] == ["POST"] * 4
    assert len({each.key for each in proxy.seen}) == 1 and proxy.seen[0].key
    assert [each["id"] for each in viewer.iter_subscriptions()] == [subscription["id"]]
    assert len(list(viewer.iter_invoices())) == 1


def test_calls_have_keys_of_their_own_unless_one_is_given(api, through_proxy, proxy):
    for name in ("Ada", "Bea"):
        through_proxy.create_profile({"name": name})
    same = [through_proxy.create_profile({"name": "Eve"}, idempotency_key="eve") for _ in range(2)]
    assert same[0] == same[1] and len(list(through_proxy.iter_profiles())) == 4
    keys = [each.key for each in proxy.seen if each.method == "POST"]
    assert len(set(keys)) == 3 and keys[2:] == ["eve", "eve"]
    with pytest.raises(api.IdempotencyKeyReusedError):
        through_proxy.create_profile({"name": "Eva"}, idempotency_key="eve")


def test_a_post_without_a_key_is_not_repeated_if_it_may_have_acted(api, through_proxy, site, proxy):
    preview = {"price_id": site.price}
    for fault in (BUSY, LOSE_RESPONSE):
        proxy.seen.clear()
        proxy.faults.append(fault)
        with pytest.raises(api.StreamsvcError):
            through_proxy.preview_invoice(preview)
        assert [each.key for each in proxy.seen] == [None]
    proxy.faults.append(Refusal(429, "1", PROBLEM))
    assert through_proxy.preview_invoice(preview)["total_minor"] == 999


def test_a_page_of_something_else_is_an_error(api, through_proxy, proxy):
    proxy.faults.append(Refusal(200, body=b"<html>Sign in to the network of this hotel</html>"))
    with pytest.raises(api.ApiError, match="not JSON"):
        through_proxy.get_account()


def test_a_service_that_is_not_there_is_an_error(api, site):
    with api.Client("http://127.0.0.1:9", max_retries=1) as client, pytest.raises(api.NoResponseError):
        client.list_plans()


def test_errors_have_types_and_what_they_say(api, viewer, site):
    account = {"email": viewer.email, "password": "seven red herons", "country": "DE"}
    with api.Client(site.url) as client:
        with pytest.raises(api.EmailTakenError) as taken:
            client.create_account(account)
        with pytest.raises(api.InvalidError) as invalid:
            client.create_account({**account, "password": "password", "country": "Germany"})
        with pytest.raises(api.NotSignedInError):
            client.get_account()
    assert (taken.value.status, taken.value.code) == (409, "email_taken")
    assert taken.value.request_id.startswith("req_") and taken.value.request_id in str(taken.value)
    assert set(invalid.value.errors) >= {"country"} and "country" in str(invalid.value)
    with pytest.raises(api.NotFoundError):
        viewer.get_title("ttl_00000000000000000000000000")
    with pytest.raises(api.NotFoundError):
        viewer.get_title("../../admin/accounts")
    for wrong in ("", ".", ".."):
        with pytest.raises(ValueError, match="not an id"):
            viewer.delete_session(wrong)


def test_a_refusal_carries_what_its_problem_has(api, viewer, site):
    viewer.create_payment_method({"token": "pm_card_visa"})
    viewer.create_subscription({"price_id": site.price})
    items = [title["id"] for title in viewer.list_titles(limit=3)["items"]]
    for item in items[:2]:
        with api.Client(site.url, sign_in(viewer)) as device:
            device.start_playback({"item_id": item})
    with pytest.raises(api.StreamLimitError) as caught:
        viewer.start_playback({"item_id": items[2]})
    assert caught.value.limit == 2 and len(caught.value.streams) == 2
    viewer.start_playback({"item_id": items[2], "replace": caught.value.streams[0]["stream_id"]})


def test_an_expired_token_is_renewed_once_for_all_threads(api, viewer, proxy):
    expired, fresh, renewals, stored, names = sign_in(viewer), sign_in(viewer), [], [], []

    def renew():
        renewals.append(1)
        time.sleep(0.05)
        return fresh

    with api.Client(proxy.url, expired, renew_token=renew, on_token=stored.append) as client:
        client.delete_current_session()
        threads = [threading.Thread(target=lambda: names.append(client.get_account()["email"])) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (renewals, stored, names) == ([1], [fresh], [viewer.email] * 4)


def test_an_expired_token_without_renewal_or_after_it_is_an_error(api, viewer, site):
    expired = sign_in(viewer)
    with api.Client(site.url, expired) as client:
        client.delete_current_session()
        with pytest.raises(api.NotSignedInError):
            client.get_account()
    renewals = []
    client = api.Client(site.url, expired, renew_token=lambda: renewals.append(1) or expired)
    with client, pytest.raises(api.NotSignedInError):
        client.get_account()
    assert renewals == [1]


def test_the_client_takes_over_each_new_token_of_its_session(api, site):
    stored = []
    account = {"email": new_email(), "password": "seven red herons", "country": "DE"}
    with api.Client(site.url, on_token=stored.append) as client:
        first = client.create_account(account)["token"]
        assert client.reauthenticate({"password": "seven red herons"}) is None and client.token == first
        rotated = client.reauthenticate({"password": "seven red herons", "rotate": True})["token"]
        assert client.token == rotated != first and client.get_account()["email"] == account["email"]
    assert stored == [first, rotated]
    with api.Client(site.url, site.key) as operator:
        operator.create_api_key({"name": "another", "scopes": ["catalog"]})
        assert operator.token == site.key, "an API key that was created for somebody else"


def test_bytes_are_sent_and_received(api, site):
    with api.Client(site.url, site.key) as operator:
        line = b'{"external_id": "by import", "kind": "movie", "title": "No", "nonsense": 1}\n'
        started = operator.create_import(line, content_type="application/x-ndjson", dry_run=True)
        assert operator.get_import(started["id"])["id"] == started["id"]
        assert isinstance(operator.get_revenue_report(format="csv"), bytes)
        assert b"viewer" in operator.export_table("accounts")


def test_webhooks_are_verified(api):
    now = int(time.time())
    headers = {"Webhook-Id": "evt_1", "webhook-timestamp": str(now)}
    signed = {**headers, "webhook-signature": sign_message([SECRET], "evt_1", now, EVENT)}
    assert api.verify_webhook(SECRET, signed, EVENT)["data"] == {"status": "open"}
    other = "whsec_" + base64.b64encode(b"another").decode()
    both = {**headers, "webhook-signature": sign_message([other, SECRET], "evt_1", now, EVENT)}
    assert api.verify_webhook(SECRET, both, EVENT) == api.verify_webhook([other], both, EVENT)
    for wrong in (
        (other, signed, EVENT),
        (SECRET, signed, EVENT.replace(b"open", b"paid")),
        (SECRET, {**signed, "Webhook-Id": "evt_2"}, EVENT),
        (SECRET, {**signed, "webhook-timestamp": str(now - 301)}, EVENT),
        (SECRET, {**headers, "webhook-timestamp": str(now - 301)}, EVENT),
        (SECRET, {**headers, "webhook-signature": "v1,é v2,x"}, EVENT),
        (SECRET, {}, EVENT),
    ):
        with pytest.raises(api.WebhookError):
            api.verify_webhook(*wrong)


def test_the_example_of_the_standard_is_verified(api):
    """The example in the tests of svix/svix-webhooks, whose scheme became the standard: ruby/spec/webhook_spec.rb."""
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    body, secret = b'{"test": 2432232314}', "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    assert api.verify_webhook(secret, headers, body, tolerance_s=1e10) == {"test": 2432232314}
    with pytest.raises(api.WebhookError):
        api.verify_webhook(secret, headers, body)


def test_mypy_knows_bodies_results_and_parameters(python_package, tmp_path):
    program = (
        "from streamsvc_client import AsyncClient, Client, StreamLimitError, types\n"
        "client = Client('http://127.0.0.1')\n"
        "order: types.SubscriptionIn = {'price_id': 'pri_1'}\n"
        "status: str = client.create_subscription(order)['status']\n"
        "for title in client.iter_titles(kind='movie', year_gte=1990):\n"
        "    name: str = title['title']\n"
        "async def read(client: AsyncClient) -> str:\n"
        "    return (await client.get_account())['id']\n"
    )
    wrong = (
        "client.create_subscription({'price': 'pri_1'})\n",
        "client.list_titles(kind='film')\n",
        "client.get_account()['mail']\n",
        "client.get_title()\n",
        "limit: str = StreamLimitError.limit\n",
    )
    (tmp_path / "right.py").write_text(program)
    (tmp_path / "wrong.py").write_text(program + "".join(wrong))
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file", "/dev/null"]
    command += ["--cache-dir", str(tmp_path / "cache"), "right.py", "wrong.py"]
    env = {"MYPYPATH": str(python_package), "PATH": "/usr/bin"}
    result = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert result.returncode == 1 and "cannot find" not in result.stdout.lower(), result.stdout
    found = {tuple(line.split(":")[:2]) for line in result.stdout.splitlines() if line.startswith(("right", "wrong"))}
    first = program.count("\n") + 1
    assert found == {("wrong.py", str(first + number)) for number in range(len(wrong))}
