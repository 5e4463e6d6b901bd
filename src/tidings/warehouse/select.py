"""What counts as one SELECT: a text that reads, and does nothing else."""

from __future__ import annotations

import logging

# Our names for a warehouse and sqlglot's differ nowhere but here.
_DIALECTS = {"postgresql": "postgres"}


def objection(sql: str, kind: str) -> str | None:
    """Return why this text is not one SELECT, or None if it is one."""
    import sqlglot
    from sqlglot import exp

    # It warns about statements that it does not know; they are refused below.
    logging.getLogger("sqlglot").setLevel(logging.ERROR)
    try:
        statements = [one for one in sqlglot.parse(sql, read=_DIALECTS.get(kind, kind)) if one is not None]
    except sqlglot.errors.SqlglotError as error:
        first = str(error).split("\n", 1)[0]
        return f"must be one SELECT; cannot be read: {first}"
    if len(statements) != 1:
        return f"must be one SELECT; found {len(statements)} statements"
    statement = statements[0]
    if not isinstance(statement, exp.Query):
        return f"must be one SELECT; found {statement.key.upper()}"
    for kind_of in (exp.DML, exp.DDL, exp.Command, exp.Into, exp.Lock):
        for node in statement.find_all(kind_of):
            if not isinstance(node, exp.Query):
                return f"must be one SELECT; found {node.key.upper()} in it"
    return None
