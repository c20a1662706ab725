"""How a database means to carry out a statement."""

from streamsvc.storage.database import STATEMENTS, db


def plan_of(statement, **parameters) -> str:
    """The plan of a Core statement with these parameters, as the database words it."""
    engine = db.engines[STATEMENTS]
    compiled = statement.compile(engine)
    given = compiled.construct_params(parameters)
    values = tuple(given[name] for name in compiled.positiontup) if compiled.positional else given
    with engine.connect() as connection:
        word = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
        return "\n".join(str(row[-1]) for row in connection.exec_driver_sql(word + str(compiled), values))
