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
                given, default = str(parameter["Default"]), settings[variable].default
                if given:
                    assert settings[variable].metadata["parse"](given) == default, variable
                else:
                    assert default in (None, ()), variable


def test_no_secret_is_in_the_environment(resources: Resource) -> None:
    for function, properties in functions(resources).items():
        for name in properties["Environment"]["Variables"]:
            assert not SECRET_NAMES.search(name), f"{function}: {name}"


def test_no_parameter_or_stage_holds_a_secret(template: Resource) -> None:
    for name in set(template["Parameters"]) - {"KmsKeyArn"}:  # which names a key
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


def numbers(template: Resource) -> dict[str, tuple[str, Resource]]:
    """The parameters that set a number, by their setting."""
    parse = {field.name.upper(): field for field in fields(Settings)}
    found = {}
    for function in functions(template["Resources"]).values():
        for variable, value in function["Environment"]["Variables"].items():
            parameter = template["Parameters"].get(value["Ref"]) if variable in parse else None
            if parameter and type(parse[variable].default) in (int, float):
                found[variable] = (value["Ref"], parameter)
    return found


def takes(parameter: Resource, value: str) -> bool:
    """As CloudFormation does: https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/parameters-section-structure.html"""
    if parameter["Type"] == "Number":
        return parameter["MinValue"] <= float(value) <= parameter["MaxValue"]
    return bool(re.fullmatch(parameter["AllowedPattern"], value))


def test_the_template_takes_the_numbers_that_the_settings_take(template: Resource) -> None:
    parse = {field.name.upper(): field.metadata["parse"] for field in fields(Settings)}
    tried = sorted(
        {
            *(f"{base + step}" for base in (0, 1, 2, 64, 90, 100, 128, 1000, 8760, 10_000)
              for step in (-1, 0, 1)),
            "0.009", "0.01", "0.5", "1.5", "64.5", "8760.5", "10000.5",
        }
    )  # fmt: skip
    found = numbers(template)

    assert len(found) == 9
    for variable, (name, parameter) in found.items():
        for value in tried:
            try:
                accepted = bool(str(parse[variable](value)))
            except ValueError:
                accepted = False
            if name == "MetricsConcurrency" and value == "1":
                continue  # less than a queue's MaximumConcurrency may be
            assert takes(parameter, value) is accepted, (name, value)


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
