"""The access history of an account, and the links in mails that revoke access."""

from streamsvc import clock
from streamsvc.blueprints.sessions.cookies import current_prover
from streamsvc.http.edge import Blueprint
from streamsvc.http.pagination import paginate_list
from streamsvc.http.request_facts import current_request_facts
from streamsvc.operations.credentials.access_history import list_access
from streamsvc.operations.credentials.attempts import hit_address_limit
from streamsvc.operations.sign_in import access_links
from streamsvc.rules import rate_limits as limits
from streamsvc.rules.inputs import PageInput
from streamsvc.rules.refusals.access import EndUserAddressInvalid
from streamsvc.rules.refusals.accounts import EmailTaken, TokenInvalid, TooManyAttempts
from streamsvc.rules.sign_in.access import AccessEntry
from streamsvc.schemas.base import PageQuery, page_of
from streamsvc.schemas.sessions.access import AccessEntryOut, AccessRevocation, AccessRevocationPreview
from streamsvc.security.access import public
from streamsvc.security.principals import current_viewer
from streamsvc.storage.database import db

bp = Blueprint("access", __name__, url_prefix="/v1", description="See what gives access to the account, and revoke it.")


@bp.route("/account/access-history")
@bp.arguments(PageQuery, location="query")
@bp.response(200, page_of(AccessEntryOut))
def list_access_history(query: PageInput) -> dict:
    """List what gives access to your account, newest first.

    Sessions, devices, approved televisions, passkeys, linked providers, the authenticator app, recovery codes, and
    changes of the address and the password, each with the session that added it.
    """
    entries = sorted(list_access(current_viewer().account_id, clock.now()), key=_newest_first)
    page = paginate_list(entries, query, "access_history", _newest_first)
    return page | {"items": [access_links.access_entry_view(entry) for entry in page["items"]]}


@bp.route("/access-revocation-previews", methods=["POST"])
@bp.arguments(AccessRevocation)
@public
@bp.errors(EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(200, AccessRevocationPreview)
def preview_access_revocation(body: dict) -> dict:
    """Preview what an emailed token would revoke.

    Takes the token of an email about a new device, an added sign-in method, a changed address, a password reset (with
    `since`) or an account recovery. The token stays valid.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    return access_links.preview_access_link(body["token"], clock.now(), body["since"], current_prover())


@bp.route("/access-revocations", methods=["PUT"])
@bp.arguments(AccessRevocation)
@public
@bp.errors(EmailTaken, EndUserAddressInvalid, TokenInvalid, TooManyAttempts)
@bp.response(204)
def revoke_access(body: dict) -> None:
    """Revoke access with an emailed token.

    Takes the token of an email about a new device, an added sign-in method or a changed address. Everything that was
    added since the session it reports began is revoked, what is older stays. The address that got the email is the
    account's again, the password stops working, and an email lets the owner set a new one.
    """
    hit_address_limit(limits.SECRET_BY_ADDRESS, current_request_facts())
    access_links.use_access_link(body["token"], clock.now(), body["since"])
    db.session.commit()


def _newest_first(entry: AccessEntry) -> list:
    return [-entry.created_at.timestamp(), entry.id]
