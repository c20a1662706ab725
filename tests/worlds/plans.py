"""How a database means to carry out a statement."""

from streamsvc.storage.database import AUTOCOMMIT_BIND, db


def query_plan(statement, /, *, prefer_indexes=False, **parameters) -> str:
    """The plan of a Core statement with these parameters, as the database words it.

    `prefer_indexes`: which index could serve, where the table has too few rows for PostgreSQL to choose one.
    """
    engine = db.engines[AUTOCOMMIT_BIND]
    compiled = statement.compile(engine)
    given = compiled.construct_params(parameters)
    values = tuple(given[name] for name in compiled.positiontup) if compiled.positional else given
    with engine.connect() as connection:
        if prefer_indexes and engine.dialect.name == "postgresql":
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        word = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(word + str(compiled), values))
