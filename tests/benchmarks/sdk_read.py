"""Reads an account with Meta's SDK, in the environment that has it, timed from within.

It reads {"graph", "token", "account_id", "since", "until"} from stdin and prints
{"seconds", "rows"}. Modules are loaded before the time starts.
"""

from __future__ import annotations

import json
import sys
import time

from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession

FIELDS = ["ad_id", "ad_name", "impressions", "clicks", "spend", "reach", "account_currency"]


def main() -> None:
    """Page through the insights of every ad and day."""
    request = json.load(sys.stdin)
    FacebookSession.GRAPH = request["graph"]
    started = time.monotonic()
    api = FacebookAdsApi.init(access_token=request["token"], crash_log=False)
    params = {
        "level": "ad",
        "time_increment": 1,
        "time_range": {"since": request["since"], "until": request["until"]},
        "limit": 500,
    }
    account = AdAccount(f"act_{request['account_id']}", api=api)
    rows = sum(1 for _ in account.get_insights(fields=FIELDS, params=params))
    print(json.dumps({"seconds": time.monotonic() - started, "rows": rows}))


if __name__ == "__main__":
    main()
