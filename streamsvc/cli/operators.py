"""operators."""

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

INVITATION_MESSAGE = "The invitation, good once, for 24 hours: POST it as `token` to /v1/admin/invitations to begin. {}"


@click.group()
def operators():
    """People who operate. Whoever runs this has the machine; over HTTP it takes an admin."""


@operators.command()
@click.argument("email")
@click.option("--role", required=True, type=click.Choice(list(ROLES)))
@click.option("--name", help="Their name; else the e-mail.")
@with_appcontext
def add(email, role, name):
    """Add an operator and print an invitation, as the last word. They set password and authenticator themselves."""
    token = new_token("")
    try:
        people.invite_operator(email, name or email, role, clock.now(), token)
    except EmailTaken as taken:
        raise click.ClickException(taken.detail) from None
    db.session.commit()
    click.echo(INVITATION_MESSAGE.format(token))


@operators.command()
@click.argument("email")
@with_appcontext
def reset(email):
    """Take an operator's password and authenticator away and print a new invitation, as the last word."""
    known = OperatorAccount.find_by_email_key(email_key(email))
    if known is None:
        raise click.ClickException("There is no operator with this e-mail.")
    token = new_token("")
    people.reset_operator(known.id, clock.now(), token)
    db.session.commit()
    click.echo(INVITATION_MESSAGE.format(token))


@operators.command("list")
@with_appcontext
def list_all():
    """Every operator: id, role, status, e-mail."""
    columns = OperatorAccount.__table__.c
    for row in fetch_all(sa.select(columns).where(columns.status != "removed").order_by(columns.id)):
        enrolled = row.status if row.totp_encrypted or row.status != "active" else "invited"
        click.echo(f"{row.id}  {row.role:8} {enrolled:9} {row.email}")
