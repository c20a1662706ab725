"""accounts: the paying customers. profiles: the people of an account. api_keys: credentials of machines."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from streamsvc.rules.profiles import PROFILE_RESTORATION_PERIOD
from streamsvc.rules.stores.account_ids import format_store_account_id
from streamsvc.storage.database import Base, Json, UtcTime, db, fetch_one, new_id
from streamsvc.storage.owned import OwnedByAccount

GUEST = "guest"
"""The status of a guest."""
IS_GUEST = sa.text("status = 'guest'")


class Account(Base):
    """A customer, or with the status `guest` somebody without an account, whose address is a placeholder.

    A guest is never active, so that sign-in, mail, billing and support, which require an active account, exclude them.
    """

    __tablename__ = "accounts"
    __table_args__ = (
        sa.CheckConstraint("status IN ('active', 'disabled', 'deleted', 'guest')", name="status"),
        sa.Index("uq_accounts_email_key", "email_key", unique=True),
        sa.Index("ix_accounts_guests", "id", sqlite_where=IS_GUEST, postgresql_where=IS_GUEST),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("acc"))
    email: Mapped[str]
    email_key: Mapped[str]
    """The email address in canonical form, unique among accounts."""
    email_verified_at: Mapped[datetime | None] = mapped_column(UtcTime)
    password_hash: Mapped[str | None]
    name: Mapped[str | None]
    country: Mapped[str]
    time_zone: Mapped[str]
    locale: Mapped[str]
    status: Mapped[str] = mapped_column(default="active")
    status_reason: Mapped[str | None]
    disabled_until: Mapped[datetime | None] = mapped_column(UtcTime)
    """When the account is enabled again automatically; None: only by an operator."""
    restored_status: Mapped[str | None]
    """The status that restoring a deleted account gives back: a disabled account stays disabled."""
    erase_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Until when a deleted account can be restored; None once it is erased."""
    store_access: Mapped[list[dict[str, Any]] | None] = mapped_column(Json)
    """What the live subscriptions of app stores grant, computed from StoreSubscription: a list of `StoreAccess`."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)

    @property
    def store_account_id(self) -> str:
        """The account's name for the app stores."""
        return format_store_account_id(self.id)

    @property
    def email_verified(self) -> bool:
        return self.email_verified_at is not None

    @property
    def is_guest(self) -> bool:
        return self.status == GUEST

    @classmethod
    def find_by_email_key(cls, email_key: str) -> "Account | None":
        return db.session.scalar(sa.select(cls).where(cls.email_key == email_key))


class Profile(OwnedByAccount, Base):
    __tablename__ = "profiles"
    __table_args__ = (
        sa.Index("ix_profiles_account_id", "account_id", "id"),
        sa.Index(
            "ix_profiles_deleted_at",
            "deleted_at",
            sqlite_where=sa.text("deleted_at IS NOT NULL"),
            postgresql_where=sa.text("deleted_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("pro"))
    account_id: Mapped[str] = mapped_column(sa.ForeignKey("accounts.id"))
    name: Mapped[str]
    avatar: Mapped[str | None]
    language: Mapped[str | None]
    kids: Mapped[bool] = mapped_column(default=False)
    max_age: Mapped[int | None]
    """The highest minimum age of titles that this profile can see; None: no limit."""
    autoplay: Mapped[bool] = mapped_column(default=True)
    pin_hash: Mapped[str | None]
    restrictions: Mapped[dict | None] = mapped_column(Json)
    """What the owner restricts: see rules/playback/restrictions.py; None: nothing."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcTime)
    """Since when the profile is deleted; its owner can restore it for a while."""

    @classmethod
    def visible_conditions(cls) -> tuple[sa.ColumnElement[bool], ...]:
        return (cls.deleted_at.is_(None),)

    @classmethod
    def select_restorable(cls, account_id: str, now: datetime) -> "sa.Select[Profile]":
        """Select the account's deleted profiles that can still be restored."""
        return sa.select(cls).where(cls.account_id == account_id, cls.deleted_at > now - PROFILE_RESTORATION_PERIOD)

    @classmethod
    def find_row(cls, account_id: str, profile_id: str) -> sa.Row | None:
        """Find the columns of the account's profile, read without starting a transaction."""
        conditions = (cls.id == profile_id, cls.account_id == account_id, *cls.visible_conditions())
        return fetch_one(sa.select(*cls.__table__.c).where(*conditions))

    @classmethod
    def list_owned(cls, account_id: str) -> "list[Profile]":
        return list(db.session.scalars(cls.select_owned(account_id).order_by(cls.id)))

    @property
    def has_pin(self) -> bool:
        return self.pin_hash is not None

    @property
    def restorable_until(self) -> datetime | None:
        """Until when a deleted profile can be restored; None while it is not deleted."""
        return self.deleted_at and self.deleted_at + PROFILE_RESTORATION_PERIOD

    @classmethod
    def find_default_id(cls, account_id: str) -> str | None:
        """Find the id of the account's only profile, if it has no PIN; else None, and the viewer selects a profile."""
        select = cls.select_owned(account_id).with_only_columns(cls.id, cls.pin_hash).limit(2)
        profiles = db.session.execute(select).all()
        return profiles[0].id if len(profiles) == 1 and profiles[0].pin_hash is None else None


class ApiKey(Base):
    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True, default=lambda: new_id("key"))
    name: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    scopes: Mapped[list] = mapped_column(Json)
    signing_key_encrypted: Mapped[str | None]
    """Verifies signed end-user addresses. Derived from the token, and encrypted with the service's secret key."""
    created_at: Mapped[datetime] = mapped_column(UtcTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcTime)
    revoked_at: Mapped[datetime | None] = mapped_column(UtcTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcTime)
