"""What an operator's request changes: a resource's members before and after it, for the audit log.

`audited` names the resource that a view changes. Its old members are read in the request's transaction just before the
first write, when the view has taken its locks, and its new members just before the commit. They go into the one event
of the request that has the given action, as `object`, `old` and `new`. Secrets are only ever compared: see `Hidden`.

A view that commits before it calls the payment provider leaves an `operator_call` there, with the object and the amount
alone. If an interrupted request is repeated, the old members are those that the interrupted one left.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import event

from streamsvc.security.audit_context import get_audit_actor, get_audit_context
from streamsvc.storage.database import DatabaseSession, db, separate_session

OPERATOR_CALL = "operator_call"
"""The action of a call that records no event of its own."""
FindId = Callable[[Any], str | None]
MAX_VALUE_LENGTH = 2_000
"""Characters of a member's JSON; of a longer one, its start is recorded with its digest and length."""
AMOUNT_FACTS = ("amount_minor", "currency", "quantity")
DRY_RUN = "dry_run"
"""In the event of a request that only counts, whichever event that is: nothing was changed."""


@dataclass(frozen=True)
class Hidden:
    """A secret or its hash as a member of a resource: recorded is only that there is one, and that it changed."""

    value: object


@dataclass(frozen=True)
class AuditedResource:
    """A kind of resource that operators change."""

    type: str
    load: Callable[[str], dict | None]
    """Returns the members of the resource with this id as they are in the database; None if there is none."""
    lock: Callable[[], None] | None = None
    """Takes the lock under which it is written, if its writes bypass the session; it is then read at once."""
    id_member: str | None = None
    """The member with its id, if the URL may contain another name of it."""
    only_id: str | None = None
    """The id if there is a single resource of this kind."""


@dataclass
class ResourceChange:
    """The change that the current request makes to a resource."""

    resource: AuditedResource
    actions: tuple[str, ...]
    """The event that reports the change: the last with one of these actions."""
    account_id: str | None
    """The account that the request's body names."""
    facts: dict[str, str | int]
    """Amount, `reason` and `dry_run` of the request, and what the view adds with `add_change_details`."""
    object_id: str | None = None
    old: dict | None = None
    is_old_loaded: bool = False
    is_reading: bool = False

    def load_old(self) -> None:
        """Load the members before the request's first write."""
        if not self.is_old_loaded and not self.is_reading:
            self.old, self.is_old_loaded = self._load_members(), True

    def describe(self) -> dict:
        """Return the event's details: object, old and new members, and the facts of the request."""
        db.session.flush()
        new = self._load_members()
        self.load_old()  # still the same if nothing was written
        old, new_members = compare_members(self.old, new)
        return self.identify(new) | self.facts | {"old": old, "new": new_members}

    def identify(self, new: dict | None = None) -> dict:
        """Return the details of the request's other events: the object, if its id is known, amount and dry run."""
        object_id = self.object_id
        if self.resource.id_member and (members := new or self.old):
            object_id = members[self.resource.id_member]
        named = {"object": {"type": self.resource.type, "id": object_id}} if object_id else {}
        return named | {name: self.facts[name] for name in (*AMOUNT_FACTS, DRY_RUN) if name in self.facts}

    def _load_members(self) -> dict | None:
        if self.object_id is None:
            return None
        self.is_reading = True
        with separate_session(db.session.connection()):
            members = self.resource.load(self.object_id)
        self.is_reading = False
        return members and {name: _to_json(value) for name, value in members.items()}


def audited(resource: AuditedResource, find_id: str | FindId | None = None, *actions: str) -> Callable[[Any], Any]:
    """Decorator that records what an operator's view changes; it goes last, below `@bp.response`.

    `find_id`: the URL's parameter with the resource's id; `own_id`; or a function that returns the id from the view's
    result, for a resource that the view creates. `actions`: the event that reports the change, if the view records one
    of its own.
    """

    def decorate(view: Any) -> Any:
        @wraps(view)
        def audited_view(*args: Any, **kwargs: Any) -> Any:
            context = get_audit_context()
            if context is None or context.actor is None:
                return view(*args, **kwargs)
            body = _body_of(args)
            change = ResourceChange(resource, actions or (OPERATOR_CALL,), body.get("account_id"), _request_facts(body))
            context.change = change
            change.object_id = _find_id_before(resource, find_id, kwargs)
            if resource.lock:
                resource.lock()
                change.load_old()
            else:
                _load_old_before_first_write(change)
            result = view(*args, **kwargs)
            if change.object_id is None and callable(find_id):
                change.object_id, change.is_old_loaded = find_id(result), True
            return result

        marked: Any = audited_view
        marked.audited = resource
        return marked

    return decorate


def _find_id_before(resource: AuditedResource, find_id: str | FindId | None, view_args: dict) -> str | None:
    """Return the resource's id before the view runs; None for one that the view creates."""
    if isinstance(find_id, str):
        return view_args[find_id]
    return own_id(None) if find_id is own_id else resource.only_id


def created_id(result: Any) -> str:
    """Return the id of the resource that a view has created."""
    return result["id"] if isinstance(result, dict) else result.id


def own_id(result: object) -> str | None:
    """Return the id of the operator who sent the request: the operator is the resource."""
    return get_audit_actor()


def add_change_details(**details: Any) -> None:
    """Add details to the event that reports the change of the current request."""
    context = get_audit_context()
    if context and context.change:
        context.change.facts |= details


def _load_old_before_first_write(change: ResourceChange) -> None:
    """Load the old members when a statement that writes is about to run, however it reaches the connection."""

    def load_old_before_write(connection: sa.Connection, statement: object, *_: object) -> None:
        if getattr(statement, "is_dml", False):
            change.load_old()

    def watch_connection(session: object, transaction: object, connection: sa.Connection) -> None:
        event.listen(connection, "before_execute", load_old_before_write)

    session = db.session()
    event.listen(session, "after_begin", watch_connection)
    if session.in_transaction():
        watch_connection(session, None, session.connection())


@event.listens_for(DatabaseSession, "after_soft_rollback")
def _discard_old(session: DatabaseSession, previous_transaction: object) -> None:
    """Load the members again if the request retries what was rolled back."""
    context = get_audit_context()
    if context and context.change and not context.change.resource.lock:
        context.change.is_old_loaded = False


def _body_of(args: tuple) -> dict:
    """Return a view's parsed body; empty if it has none."""
    return args[0] if args and isinstance(args[0], dict) else {}


def _request_facts(sent: dict) -> dict:
    """Return the amount and the reason in a view's parsed body, and whether it asks for a dry run."""
    names = ("reason", *(AMOUNT_FACTS if sent.get("amount_minor") is not None else ()))
    names += (DRY_RUN,) if sent.get(DRY_RUN) else ()
    return {name: sent[name] for name in names if sent.get(name) is not None}


def compare_members(old: dict | None, new: dict | None) -> tuple[dict | None, dict | None]:
    """Return the members that differ, as they are recorded; all of them for a resource that was created or deleted."""
    if old is not None and new is not None:
        changed = [name for name in old | new if name not in old or name not in new or old[name] != new[name]]
        old, new = ({name: side[name] for name in changed if name in side} for side in (old, new))
        for name in old.keys() & new.keys():
            old[name], new[name] = _compare_long_lists(old[name], new[name])
    return _record_members(old), _record_members(new)


def _compare_long_lists(old: Any, new: Any) -> tuple[Any, Any]:
    """Reduce two lists, if they would be cut, to the items that only one of them has; leave other values."""
    if not (isinstance(old, list) and isinstance(new, list) and _is_long(old, new)):
        return old, new
    differences = [item for item in old if item not in new], [item for item in new if item not in old]
    return differences if any(differences) else (old, new)  # else only the order has changed


def _is_long(*values: Any) -> bool:
    return any(len(json.dumps(value, sort_keys=True, ensure_ascii=False)) > MAX_VALUE_LENGTH for value in values)


def _record_members(members: dict | None) -> dict | None:
    return members and {name: _record_value(value) for name, value in members.items()}


def _record_value(value: Any) -> Any:
    """Return a member's value as it is recorded: a secret hidden, and a long value cut."""
    if isinstance(value, Hidden):
        return "[hidden]" if value.value else None
    text = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if len(text) <= MAX_VALUE_LENGTH:
        return value
    digest = hashlib.sha256(text.encode()).hexdigest()
    return {"start": text[:MAX_VALUE_LENGTH], "length": len(text), "sha256": digest}


def _to_json(value: Any) -> Any:
    """Return the value as JSON values that both databases store without changing them."""
    return value if isinstance(value, Hidden) else _normalize_numbers(msgspec.to_builtins(value))


def _normalize_numbers(value: Any) -> Any:
    """Replace whole floats by integers: JSONB returns 1e22 as an integer, and the chain covers the text of the JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {name: _normalize_numbers(inner) for name, inner in value.items()}
    return [_normalize_numbers(inner) for inner in value] if isinstance(value, list) else value
