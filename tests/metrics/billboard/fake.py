"""A fake for Billboard, the toy platform."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

from local.fakes.ad_platform import AdPlatform
from local.faults import Fault
from local.http_server import HttpServer
from local.wire import Request, Response


class FakeBillboard(AdPlatform):
    """Serves `/accounts/<id>` and `/accounts/<id>/days`."""

    platform = "billboard"
    first_state = Path(__file__).resolve().parent / "billboard_accounts.json"

    def handle(self, request: Request) -> Response:
        """Answer one call."""
        _, _, id_, *rest = request.path.split("/")
        account = self._state["accounts"].get(id_)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if account is None or token not in account["tokens"]:
            return Response.of_json({"error": "who are you?"}, 401)
        if not rest:
            fields = {name: account[name] for name in ("name", "currency", "time_zone")}
            return Response.of_json({"id": id_, **fields})
        rows = self._rows(id_, account, request.fields)
        size, page = int(request.fields["size"]), int(request.fields["page"])
        following = str(page + 1) if page * size < len(rows) else None
        shown = rows[(page - 1) * size : page * size]
        return Response.of_json({"rows": shown, "next": following, "total": len(rows)})

    def _rows(self, id_: str, account: Any, asked: Any) -> list[dict[str, Any]]:
        since, until = date.fromisoformat(asked["since"]), date.fromisoformat(asked["until"])
        days = range(since.toordinal(), min(until, self.today(account)).toordinal() + 1)
        return [
            {
                "ad": ad.id, "name": ad.name, "group": ad.group, "campaign": ad.campaign,
                "day": f"{date.fromordinal(day)}",
                "impressions": facts.impressions, "clicks": facts.clicks,
                "spend": str(facts.spend), "reach": facts.reach,
            }
            for ad in self._records[id_]
            for day in days
            if (facts := ad.on(day)) is not None
        ]  # fmt: skip


def refusal(status: int, message: str = "no", **rest: Any) -> Fault:
    """An error in Billboard's words; takes Fault's other fields as keywords."""
    return Fault("answer", status=status, body=json.dumps({"error": message}), **rest)


def fake_billboard() -> HttpServer:
    """A server in this process, not yet started."""
    return HttpServer(FakeBillboard())
