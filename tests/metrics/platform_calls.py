"""Each platform's reporting call, for faults to be limited to."""

from __future__ import annotations

INSIGHTS = {"path": "act_1001/insights", "times": None}
STREAM = {"path": "customers/5000000001/googleAds:searchStream", "times": None}
REPORT = {"path": "report/integrated/get/", "times": None}
ANALYTICS = {"path": "rest/adAnalytics", "times": None}
