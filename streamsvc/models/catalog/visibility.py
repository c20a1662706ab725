"""What a viewer may see, in SQL: `is_listed` of rules/playback/access.py, with the viewer's facts as parameters.

max_age   the profile's limit, or NO_AGE_LIMIT
country   the viewer's country, "" if unknown
plan      the code of the viewer's plan; None without a subscription, which makes any plan sufficient
now       the current time
"""

import sqlalchemy as sa

from streamsvc.models.catalog.titles import Title, TitlePlan, TitleWindow
from streamsvc.storage.database import UtcTime

NO_AGE_LIMIT = 10_000
EVERYWHERE = "*"

_now = sa.bindparam("now", type_=UtcTime())
_plan = sa.bindparam("plan", type_=sa.String())

IN_WINDOW = sa.exists().where(
    TitleWindow.title_pk == Title.pk,
    TitleWindow.country.in_([EVERYWHERE, sa.bindparam("country", type_=sa.String())]),
    sa.or_(TitleWindow.starts_at.is_(None), TitleWindow.starts_at <= _now),
    sa.or_(TitleWindow.ends_at.is_(None), TitleWindow.ends_at > _now),
)
IN_PLAN = sa.exists().where(TitlePlan.title_pk == Title.pk, sa.or_(_plan.is_(None), TitlePlan.plan_code == _plan))
VISIBLE = sa.and_(
    Title.removed_at.is_(None),
    Title.age_gate <= sa.bindparam("max_age", type_=sa.Integer()),
    sa.or_(Title.windowed.is_(False), IN_WINDOW),
    sa.or_(Title.plan_limited.is_(False), IN_PLAN),
)
IN_CATALOG = Title.removed_at.is_(None)
"""What an operator may see: every title that is not removed."""
