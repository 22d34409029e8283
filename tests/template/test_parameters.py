"""Parameters and environment variables fit the code's settings, and hold no secret."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from tests.template.deployed import ROOT, Resource, functions
from workers.settings import Settings

# Read by Powertools, or to find the secret that holds the other settings.
VARIABLES_BESIDE_THE_SETTINGS = {
    "LOG_LEVEL",
    "POWERTOOLS_METRICS_NAMESPACE",
    "POWERTOOLS_SERVICE_NAME",
    "PYTHONTZPATH",
    "WORKERS_SECRET_NAME",
}

SECRET_NAMES = re.compile(r"KEY|TOKEN|PASSWORD|CREDENTIAL|DSN", re.IGNORECASE)


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("ArchiveBucketName", "", True),
        ("ArchiveBucketName", "agency-archive.example", True),
        ("ArchiveBucketName", "Agency_Archive", False),
        ("ArchiveBucketName", "s3://agency-archive", False),
        ("RetentionTimeZone", "UTC", True),
        ("RetentionTimeZone", "America/Argentina/Buenos_Aires", True),
        ("RetentionTimeZone", "Europe/", False),
        ("RetentionSchedule", "cron(30 3 1 * ? *)", True),
        ("RetentionSchedule", "every sunday", False),
    ],
)
def test_the_parameters_of_retention_are_checked_before_anything_is_deployed(
    template: Resource, parameter: str, value: str, accepted: bool
) -> None:
    pattern = template["Parameters"][parameter]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, value)) is accepted


def test_every_variable_is_a_setting_with_the_default_of_the_code(template: Resource) -> None:
    settings = {field.name.upper(): field for field in fields(Settings)}

    for function in functions(template["Resources"]).values():
        for variable, value in function["Environment"]["Variables"].items():
            if variable in VARIABLES_BESIDE_THE_SETTINGS:
                continue
            assert variable in settings
            if value["Ref"] in template["Resources"]:  # an address that the deployment makes
                continue
            parameter = template["Parameters"][value["Ref"]]
            if "Default" in parameter:
                # a setting that is empty counts as one that is not there
                default = None if parameter["Default"] == "" else parameter["Default"]
                assert default == settings[variable].default, variable


def test_no_secret_is_in_the_environment(resources: Resource) -> None:
    for function, properties in functions(resources).items():
        for name in properties["Environment"]["Variables"]:
            assert not SECRET_NAMES.search(name), f"{function}: {name}"


def test_no_parameter_or_stage_holds_a_secret(template: Resource) -> None:
    for name in template["Parameters"]:
        assert not SECRET_NAMES.search(name), name
    for path in ("template.yaml", "samconfig.toml"):
        assert not re.search(r"xox[bp]-|sb_secret_|eyJ[A-Za-z0-9]", (ROOT / path).read_text()), path


def test_every_parameter_is_described_and_grouped(template: Resource) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]

    assert sorted(grouped) == sorted(template["Parameters"])
    for name, parameter in template["Parameters"].items():
        assert parameter["Description"], name


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("MetaApiVersion", "v26.0", True),
        ("MetaApiVersion", "26.0", False),
        ("MetaApiVersion", "v26", False),
        ("GoogleAdsApiVersion", "v26", True),
        ("GoogleAdsApiVersion", "v26.0", False),
        ("TikTokApiVersion", "v1.3", True),
        ("TikTokApiVersion", "1.3", False),
        ("LinkedInApiVersion", "202607", True),
        ("LinkedInApiVersion", "202613", False),
    ],
)
def test_the_template_takes_the_versions_that_the_settings_take(
    template: Resource, parameter: str, value: str, accepted: bool
) -> None:
    setting = {
        "MetaApiVersion": "meta_api_version",
        "GoogleAdsApiVersion": "google_ads_api_version",
        "TikTokApiVersion": "tiktok_api_version",
        "LinkedInApiVersion": "linkedin_api_version",
    }
    (parse,) = [
        each.metadata["parse"] for each in fields(Settings) if each.name == setting[parameter]
    ]

    assert (
        bool(re.fullmatch(template["Parameters"][parameter]["AllowedPattern"], value)) is accepted
    )
    if accepted:
        assert parse(value) == value
    else:
        with pytest.raises(ValueError, match="must look like"):
            parse(value)


def test_the_template_takes_no_number_that_the_settings_refuse(template: Resource) -> None:
    parse = {field.name.upper(): field.metadata["parse"] for field in fields(Settings)}

    for function in functions(template["Resources"]).values():
        for variable, value in function["Environment"]["Variables"].items():
            if variable not in parse:
                continue
            parameter = template["Parameters"].get(value["Ref"])
            if parameter and parameter["Type"] == "Number":
                for bound in {"MinValue", "MaxValue"} & set(parameter):
                    parse[variable](str(parameter[bound]))


@pytest.mark.parametrize(
    ("url", "accepted"),
    [
        ("https://abcdefghij.supabase.co", True),
        ("https://dashboard.example.com:8443/", True),
        ("https://YOUR-PROJECT.supabase.co", False),
        ("http://abcdefghij.supabase.co", False),
        ("https://abcdefghij.supabase.co/rest/v1", False),
    ],
)
def test_the_supabase_url_is_checked_before_anything_is_deployed(
    template: Resource, url: str, accepted: bool
) -> None:
    pattern = template["Parameters"]["SupabaseUrl"]["AllowedPattern"]

    assert bool(re.fullmatch(pattern, url)) is accepted
