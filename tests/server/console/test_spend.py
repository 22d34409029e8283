"""Spend at a glance is what SQL returns."""

from __future__ import annotations

import re
from decimal import Decimal
from html import unescape

from tests.server.console.conftest import Console

_BY_CLIENT = """
    select client.name, sum(figure.value) filter (where figure.date > %(until)s::date - 7),
           sum(figure.value) filter (where figure.date <= %(until)s::date - 7)
      from clients client
      join requests request on request.client_id = client.id
      join performance_metrics figure on figure.request_id = request.id
     where figure.derived and figure.metric_type = 'spend'
       and figure.date between %(until)s::date - 13 and %(until)s::date
     group by client.name, figure.source_detail ->> 'currency'
"""


def sections(console: Console, path: str) -> dict[str, str]:
    """By client, over all pages."""
    found: dict[str, str] = {}
    while True:
        page = console.page(path)
        for name, body in re.findall(
            r'<section class="card"[^>]*data-client="([^"]*)">(.*?)</section>', page, re.DOTALL
        ):
            assert name not in found
            found[unescape(name)] = body
        onward = re.search(r'href="([^"]+)" rel="next">Next page', page)
        if onward is None:
            return found
        path = unescape(onward[1])


def test_each_client_has_its_weeks(synced: Console) -> None:
    row = synced.connection.execute(
        b"select max(date)::text from performance_metrics where derived"
    ).fetchone()
    assert row is not None
    (until,) = row
    rows = synced.connection.execute(_BY_CLIENT.encode(), {"until": until}).fetchall()
    assert rows
    shown = sections(synced, f"/metrics/spend?until={until}")
    clients = synced.connection.execute(b"select name from clients").fetchall()
    assert set(shown) == {name for (name,) in clients}
    for name, week, before in rows:
        for figure, expected in (("week", week), ("before", before)):
            values = re.findall(rf'data-figure="{figure}" data-value="([^"]*)"', shown[name])
            assert (expected or 0) in [Decimal(value or 0) for value in values]
