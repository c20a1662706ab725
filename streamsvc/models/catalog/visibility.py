"""What a viewer may see, in SQL: `is_listed` of rules/playback/access.py, with the viewer's facts as parameters.

max_age   the profile's limit, or NO_AGE_LIMIT
country   the viewer's country, "" if unknown
plans     the viewer's plans by `encode_plans`; None without a subscription, which makes any plan sufficient
now       the current time
"""

from collections.abc import Iterable

import sqlalchemy as sa

from streamsvc.models.catalog.titles import Title, TitlePlan, TitleWindow
from streamsvc.storage.database import UtcTime

NO_AGE_LIMIT = 10_000
EVERYWHERE = "*"

_now = sa.bindparam("now", type_=UtcTime())
_plans = sa.bindparam("plans", type_=sa.Text())

IN_WINDOW = sa.exists().where(
    TitleWindow.title_pk == Title.pk,
    TitleWindow.country.in_([EVERYWHERE, sa.bindparam("country", type_=sa.String())]),
    sa.or_(TitleWindow.starts_at.is_(None), TitleWindow.starts_at <= _now),
    sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now),
)
# One parameter for any number of plans, so that the statement is compiled once: a code is among them if taking it out
# changes the text. A record may name any text as a plan, so its own spaces must not match those between codes.
_entry = sa.literal(" ") + sa.func.replace(TitlePlan.plan_code, " ", "?") + sa.literal(" ")
_is_held = sa.func.replace(_plans, _entry, "") != _plans
IN_PLAN = sa.exists().where(TitlePlan.title_pk == Title.pk, sa.or_(_plans.is_(None), _is_held))
VISIBLE = sa.and_(
    Title.removed_at.is_(None),
    Title.age_gate <= sa.bindparam("max_age", type_=sa.Integer()),
    sa.or_(Title.windowed.is_(False), IN_WINDOW),
    sa.or_(Title.plan_limited.is_(False), IN_PLAN),
)
IN_CATALOG = Title.removed_at.is_(None)
"""What an operator may see: every title that is not removed."""


def encode_plans(codes: Iterable[str]) -> str:
    """Return the value of the parameter `plans`: the codes, each between two spaces, which no code contains."""
    return "".join(f" {code} " for code in codes)
