"""The operators commands: add, reset, list."""

import click
import sqlalchemy as sa
from flask.cli import with_appcontext

from streamsvc import clock
from streamsvc.models import OperatorAccount
from streamsvc.operations.operators import people
from streamsvc.rules.emails import email_key
from streamsvc.rules.refusals.accounts import EmailTaken
from streamsvc.rules.roles import ROLES
from streamsvc.rules.sign_in.sessions import new_token
from streamsvc.storage.database import db, fetch_all

INVITATION_MESSAGE = "Invitation, valid once, for 24 hours: POST it as `token` to /v1/admin/invitations to start. {}"


@click.group()
def operators() -> None:
    """Manage operators. Over HTTP, this takes an admin; here, access to the machine."""


@operators.command("add")
@click.argument("email")
@click.option("--role", required=True, type=click.Choice(list(ROLES)), help="Role of the operator.")
@click.option("--name", help="Name of the operator; default: the email address.")
@with_appcontext
def add_operator(email: str, role: str, name: str | None) -> None:
    """Add an operator and print an invitation.

    The invitation is last on the line. With it, the operator sets their own password and authenticator.
    """
    token = new_token("")
    try:
        people.invite_operator(email, name or email, role, clock.now(), token)
    except EmailTaken as error:
        raise click.ClickException(error.detail) from None
    db.session.commit()
    click.echo(INVITATION_MESSAGE.format(token))


@operators.command("reset")
@click.argument("email")
@with_appcontext
def reset_operator(email: str) -> None:
    """Reset an operator's password and authenticator.

    Prints a new invitation, last on the line.
    """
    operator = OperatorAccount.find_by_email_key(email_key(email))
    if operator is None:
        raise click.ClickException("There is no operator with this email address.")
    token = new_token("")
    people.reset_operator(operator.id, clock.now(), token)
    db.session.commit()
    click.echo(INVITATION_MESSAGE.format(token))


@operators.command("list")
@with_appcontext
def list_operators() -> None:
    """List all operators: id, role, status, email address."""
    columns = OperatorAccount.__table__.c
    for row in fetch_all(sa.select(*columns).where(columns.status != "removed").order_by(columns.id)):
        status = row.status if row.totp_encrypted or row.status != "active" else "invited"
        click.echo(f"{row.id}  {row.role:8} {status:9} {row.email}")
