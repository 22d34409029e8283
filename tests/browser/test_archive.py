"""The cold archive's pages in a real browser, over moto's S3."""

from __future__ import annotations

from playwright.sync_api import Browser, expect

from tests.browser.chromium import PHONE, visit
from tests.integration.archive_bucket import DAY, NEXT_DAY, Bucket
from tests.integration.test_archive import bucket  # noqa: F401 - a fixture
from tests.server.console.conftest import Console
from tests.server.console.test_retention import archiving  # noqa: F401 - a fixture


def test_the_cold_archive_is_accessible(
    browser: Browser,
    archiving: Console,  # noqa: F811 - the fixture
    bucket: Bucket,  # noqa: F811 - the fixture
) -> None:
    with visit(browser, archiving.url) as seen:
        seen.sign_in(archiving.sign_in_url())
        page, found = seen.page, []
        page.locator("nav").get_by_role("link", name="Retention").click()
        page.locator("main").get_by_role("link", name="agency-archive").click()
        page.get_by_label("Up to", exact=True).fill(str(NEXT_DAY))
        page.get_by_role("button", name="Show").click()
        stored = page.locator("svg rect[data-day]")
        expect(stored).to_have_count(2)
        sizes = stored.evaluate_all("bars => bars.map(bar => Number(bar.dataset.value))")
        assert sizes == [len(bucket.body(key)) for key in sorted(bucket.objects())]
        found += seen.violations()
        page.get_by_role("link", name=f"Verify {DAY}").click()
        expect(page.locator("h1")).to_contain_text(str(DAY))
        found += seen.violations()
        page.set_viewport_size(PHONE)
        assert seen.too_wide() == []
        assert not found, "\n".join(found)
