"""For migrations that rewrite many rows: so many ids at a time."""

SIZE = 1000


def in_batches(rows):
    """The ids of a query, in order; rows that leave the query meanwhile are no trouble."""
    last = 0
    while True:
        ids = list(rows.filter(id__gt=last).order_by("id").values_list("id", flat=True)[:SIZE])
        if not ids:
            return
        yield ids
        last = ids[-1]
