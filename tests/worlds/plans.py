"""Query plans."""

from streamsvc.storage.database import AUTOCOMMIT_BIND, db


def query_plan(statement, /, *, prefer_indexes=False, prefer_order=False, **parameters) -> str:
    """The database's plan for a Core statement with these parameters, as text.

    `prefer_indexes`: plan as if sequential scans were expensive, for tables with too few rows for PostgreSQL to use an
    index. `prefer_order`: also as if sorts were expensive.
    """
    engine = db.engines[AUTOCOMMIT_BIND]
    compiled = statement.compile(engine)
    bound = compiled.construct_params(parameters)
    values = tuple(bound[name] for name in compiled.positiontup) if compiled.positional else bound
    with engine.connect() as connection:
        if prefer_indexes and engine.dialect.name == "postgresql":
            connection.execution_options(isolation_level="READ COMMITTED")  # SET LOCAL needs a transaction
            for method in ("seqscan", *(("bitmapscan", "sort") if prefer_order else ())):
                connection.exec_driver_sql(f"SET LOCAL enable_{method} = off")
        keyword = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(keyword + str(compiled), values))
