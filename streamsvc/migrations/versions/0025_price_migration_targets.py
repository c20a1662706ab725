"""price migrations: whom each one concerns; subscriptions: planned anchors, planned prices and add-ons' prices

Events of earlier price migrations get the id of their migration.
"""

from datetime import date

import sqlalchemy as sa
from alembic import op

from streamsvc.storage.database import Json, UtcTime

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None

NEW_DATA = {
    "started": ["anchor_month"],
    "imported": ["anchor_month"],
    "anchor_moved": ["month"],
    "price_scheduled": ["migration", "effective"],
}
"""What events have since this migration, by their kind."""
SUBSCRIPTIONS = sa.table(
    "subscriptions",
    *(sa.column(name) for name in ("id", "status", "price_id", "pending_price_id", "open_migrations")),
    sa.column("addon_prices", Json),
    sa.column("announced_prices", Json),
)
EVENTS = sa.table(
    "subscription_events",
    *(sa.column(name) for name in ("subscription_id", "seq", "kind")),
    sa.column("data", Json),
)
MIGRATIONS = sa.table(
    "price_migrations",
    *(sa.column(name) for name in ("id", "from_price_id", "to_price_id")),
    sa.column("effective", sa.Date()),
    sa.column("created_at", UtcTime()),
    sa.column("completed_at", UtcTime()),
    sa.column("withdrawn_at", UtcTime()),
)
ADDON_PRICES = sa.table(
    "subscription_addon_prices", *(sa.column(name) for name in ("subscription_id", "item", "price_id"))
)
TARGETS = sa.table(
    "price_migration_targets",
    *(sa.column(name) for name in ("migration_id", "subscription_id", "kind", "state")),
    sa.column("not_before", sa.Date()),
)


def subscription_columns():
    return (
        sa.Column("anchor_month", sa.Integer()),
        sa.Column("bridge_start", sa.Date()),
        sa.Column("bridge_end", sa.Date()),
        sa.Column("planned_price_id", sa.String()),
        sa.Column("addon_prices", Json, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("open_migrations", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("announced_prices", Json, nullable=False, server_default=sa.text("'[]'")),
    )


def upgrade():
    for column in subscription_columns():
        op.add_column("subscriptions", column)
    op.create_index("ix_subscriptions_planned_price_id", "subscriptions", ["planned_price_id", "id"])
    op.add_column("price_migrations", sa.Column("completed_at", UtcTime()))
    op.create_table(
        "price_migration_targets",
        sa.Column("migration_id", sa.String(), sa.ForeignKey("price_migrations.id"), primary_key=True),
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id"), primary_key=True),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("not_before", sa.Date(), nullable=False),
        sa.CheckConstraint("kind IN ('base', 'planned', 'addon')", name="kind"),
        sa.CheckConstraint("state IN ('scheduled', 'applied', 'declined', 'skipped', 'withdrawn')", name="state"),
    )
    op.create_index("ix_price_migration_targets_subscription_id", "price_migration_targets", ["subscription_id"])
    op.create_index(
        "ix_price_migration_targets_state", "price_migration_targets", ["migration_id", "state", "subscription_id"]
    )
    op.create_table(
        "subscription_addon_prices",
        sa.Column("subscription_id", sa.String(), sa.ForeignKey("subscriptions.id"), primary_key=True),
        sa.Column("item", sa.String(), primary_key=True),
        sa.Column("price_id", sa.String(), sa.ForeignKey("prices.id"), nullable=False),
    )
    op.create_index(
        "ix_subscription_addon_prices_price_id", "subscription_addon_prices", ["price_id", "subscription_id"]
    )
    connection = op.get_bind()
    connection.execute(sa.update(MIGRATIONS).values(completed_at=MIGRATIONS.c.created_at))
    record_addon_prices(connection)
    record_targets(connection)


def live_events(connection, *kinds):
    """Return the events of these kinds that were not reverted, by subscription, in order."""
    columns = EVENTS.c
    of_kinds = sa.select(EVENTS).where(columns.kind.in_([*kinds, "reverted"]))
    events = connection.execute(of_kinds.order_by(columns.subscription_id, columns.seq)).all()
    reverted = {(event.subscription_id, event.data["of"]) for event in events if event.kind == "reverted"}
    return [
        event
        for event in events
        if event.kind != "reverted" and (event.subscription_id, f"e{event.seq}") not in reverted
    ]


def record_addon_prices(connection):
    addons = {}
    for event in live_events(connection, "addon_added", "addon_removed"):
        of_subscription = addons.setdefault(event.subscription_id, {})
        if event.kind == "addon_added":
            of_subscription[event.data["item"]] = event.data["price"]
        else:
            of_subscription.pop(event.data["item"], None)
    for subscription_id, prices in addons.items():
        of_subscription = SUBSCRIPTIONS.c.id == subscription_id
        connection.execute(sa.update(SUBSCRIPTIONS).where(of_subscription).values(addon_prices=prices))
        for item, price_id in prices.items():
            row = {"subscription_id": subscription_id, "item": item, "price_id": price_id}
            connection.execute(sa.insert(ADDON_PRICES).values(row))


def record_targets(connection):
    """Record whom the earlier migrations concern: those whose history has an event of theirs."""
    migrations = {
        (row.from_price_id, row.to_price_id, row.effective.isoformat()): row
        for row in connection.execute(sa.select(MIGRATIONS).order_by(MIGRATIONS.c.id))
    }
    for event in live_events(connection, "price_scheduled") if migrations else ():
        data = event.data
        migration = migrations.get((data.get("only_from"), data["price"], data["not_before"]))
        if migration is None:
            continue
        of_event = EVENTS.c.subscription_id == event.subscription_id, EVENTS.c.seq == event.seq
        named = data | {"migration": migration.id, "effective": data["not_before"]}
        connection.execute(sa.update(EVENTS).where(*of_event).values(data=named))
        of_subscription = SUBSCRIPTIONS.c.id == event.subscription_id
        subscription = connection.execute(sa.select(SUBSCRIPTIONS).where(of_subscription)).one()
        state = target_state(subscription, migration)
        of_target = TARGETS.c.migration_id == migration.id, TARGETS.c.subscription_id == event.subscription_id
        connection.execute(sa.delete(TARGETS).where(*of_target))
        target = {"migration_id": migration.id, "subscription_id": event.subscription_id, "kind": "base"}
        not_before = date.fromisoformat(data["not_before"])
        connection.execute(sa.insert(TARGETS).values(**target, state=state, not_before=not_before))
        if state == "scheduled":
            announced = [*subscription.announced_prices, ["base", data["price"], data["not_before"]]]
            values = {"open_migrations": subscription.open_migrations + 1, "announced_prices": announced}
            connection.execute(sa.update(SUBSCRIPTIONS).where(of_subscription).values(**values))


def target_state(subscription, migration):
    if subscription.status != "canceled" and subscription.price_id == migration.from_price_id:
        return "scheduled"
    return "applied" if subscription.price_id == migration.to_price_id else "skipped"


def downgrade():
    op.drop_table("subscription_addon_prices")
    op.drop_table("price_migration_targets")
    op.drop_column("price_migrations", "completed_at")
    op.drop_index("ix_subscriptions_planned_price_id", "subscriptions")
    for column in subscription_columns():
        op.drop_column("subscriptions", column.name)
    remove_new_data(op.get_bind())


def remove_new_data(connection):
    """Remove from the events what the rules of before do not know."""
    for event in connection.execute(sa.select(EVENTS).where(EVENTS.c.kind.in_(NEW_DATA))).all():
        data = {name: value for name, value in event.data.items() if name not in NEW_DATA[event.kind]}
        of_event = EVENTS.c.subscription_id == event.subscription_id, EVENTS.c.seq == event.seq
        connection.execute(sa.update(EVENTS).where(*of_event).values(data=data))
