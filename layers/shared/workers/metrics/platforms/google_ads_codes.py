"""The error codes of Google Ads and of Google's sign-in, and what each means.

https://developers.google.com/google-ads/api/docs/best-practices/understand-api-errors
https://developers.google.com/google-ads/api/docs/common-errors
https://developers.google.com/identity/protocols/oauth2/web-server#offline
https://github.com/googleapis/googleapis/blob/master/google/api/error_reason.proto

Google Ads names an error by a family and a value in it ({"quotaError": "RESOURCE_EXHAUSTED"}). Most
families are about changes, which the workers never make.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from workers.metrics.platforms.meanings import Meaning

# Values whose meaning differs from their family's; a name means the same in every family.
VALUES: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.SIGN_IN: ("OAUTH_TOKEN_EXPIRED",),
        Meaning.APP: (
            "CLOUD_PROJECT_NOT_APPROVED_FOR_PRODUCTION", "CLOUD_PROJECT_NOT_FOUND",
            "CLOUD_PROJECT_NOT_UNDER_ORGANIZATION", "DEVELOPER_TOKEN_INVALID",
            "DEVELOPER_TOKEN_NOT_APPROVED", "DEVELOPER_TOKEN_NOT_ON_ALLOWLIST",
            "DEVELOPER_TOKEN_PARAMETER_MISSING", "DEVELOPER_TOKEN_PROHIBITED",
            "ORGANIZATION_NOT_APPROVED", "ORGANIZATION_NOT_ASSOCIATED_WITH_DEVELOPER_TOKEN",
            "ORGANIZATION_NOT_RECOGNIZED", "PROJECT_DISABLED",
        ),
        # their families are about authentication and quotas, but no token and no wait fixes these
        Meaning.PERMISSION: (
            "ACCESS_PROHIBITED", "CLIENT_CUSTOMER_ID_INVALID", "CUSTOMER_NOT_FOUND",
            "CANNOT_BE_EXECUTED_BY_MANAGER_ACCOUNT", "INVALID_LOGIN_CUSTOMER_ID",
            "LOGIN_CUSTOMER_ID_PARAMETER_MISSING", "REQUESTED_METRICS_FOR_MANAGER",
        ),
        Meaning.VERSION: ("UNSUPPORTED_VERSION",),
        Meaning.TOO_MUCH: (
            "DATE_RANGE_TOO_WIDE", "RESPONSE_ROW_LIMIT_EXCEEDED", "RESPONSE_SIZE_LIMIT_EXCEEDED",
        ),
        # an expired page token: the window is read from its beginning
        Meaning.GENERAL: ("EXPIRED_PAGE_TOKEN", "INVALID_PAGE_TOKEN", "RPC_DEADLINE_TOO_SHORT"),
        Meaning.UNAVAILABLE: ("CONCURRENT_MODIFICATION", "YOU_TUBE_SERVICE_UNAVAILABLE"),
        # where Google does not say whose limit it is (`rateScope`)
        Meaning.APP_LIMIT: ("EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION", "RESOURCE_EXHAUSTED"),
    }
)  # fmt: skip

FAMILIES: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.CREDENTIALS: ("authenticationError",),
        Meaning.PERMISSION: (
            "authorizationError", "contextError", "notAllowlistedError",
            "operationAccessDeniedError", "resourceAccessDeniedError",
        ),
        Meaning.ACCOUNT_LIMIT: ("quotaError",),
        Meaning.GENERAL: ("internalError",),
        Meaning.REFUSED: (
            "databaseError", "dateError", "dateRangeError", "fieldError", "headerError",
            "queryError", "requestError", "sizeLimitError",
        ),
    }
)  # fmt: skip

# Reasons to refuse changes, and objects that are never read.
OF_CHANGES = frozenset(
    {
        "accessInvitationError", "accountBudgetProposalError", "accountLinkError", "actionError",
        "adCustomizerError", "adError", "adGroupAdError", "adGroupBidModifierError",
        "adGroupCriterionCustomizerError", "adGroupCriterionError", "adGroupCustomizerError",
        "adGroupError", "adGroupFeedError", "adParameterError", "adSharingError", "adxError",
        "assetError", "assetGenerationError", "assetGroupAssetError", "assetGroupError",
        "assetGroupListingGroupFilterError", "assetGroupSignalError", "assetLinkError",
        "assetSetAssetError", "assetSetError", "assetSetLinkError", "audienceError",
        "audienceInsightsError", "automaticallyCreatedAssetRemovalError", "batchJobError",
        "benchmarksError", "biddingError", "biddingStrategyError", "billingSetupError",
        "brandGuidelinesMigrationError", "businessProfileLocationSyncError", "campaignBudgetError",
        "campaignConversionGoalError", "campaignCriterionError", "campaignCustomizerError",
        "campaignDraftError", "campaignError", "campaignExperimentError", "campaignFeedError",
        "campaignGoalConfigError", "campaignSharedSetError", "changeEventError",
        "changeStatusError", "clickViewError", "collectionSizeError", "contentCreatorInsightsError",
        "conversionActionError", "conversionAdjustmentUploadError", "conversionCustomVariableError",
        "conversionGoalCampaignConfigError", "conversionUploadError", "conversionValueRuleError",
        "conversionValueRuleSetError", "countryCodeError", "criterionError", "currencyCodeError",
        "currencyError", "customAudienceError", "customConversionGoalError", "customInterestError",
        "customerClientLinkError", "customerCustomizerError", "customerError", "customerFeedError",
        "customerManagerLinkError", "customerSkAdNetworkConversionValueSchemaError",
        "customerUserAccessError", "customizerAttributeError", "dataLinkError", "distinctError",
        "enumError", "experimentArmError", "experimentError", "extensionFeedItemError",
        "extensionSettingError", "feedAttributeReferenceError", "feedError", "feedItemError",
        "feedItemSetError", "feedItemSetLinkError", "feedItemTargetError",
        "feedItemValidationError", "feedMappingError", "fieldMaskError",
        "finalUrlExpansionAssetViewError", "functionError", "functionParsingError",
        "geoTargetConstantSuggestionError", "goalError", "idError", "identityVerificationError",
        "imageError", "incentiveError", "invoiceError", "keywordPlanAdGroupError",
        "keywordPlanAdGroupKeywordError", "keywordPlanCampaignError",
        "keywordPlanCampaignKeywordError", "keywordPlanError", "keywordPlanIdeaError", "labelError",
        "languageCodeError", "listOperationError", "managerLinkError", "mediaBundleError",
        "mediaFileError", "mediaUploadError", "merchantCenterError", "multiPartyAuthReviewError",
        "multiplierError", "mutateError", "newResourceCreationError", "notEmptyError", "nullError",
        "offlineUserDataJobError", "operatorError", "partialFailureError", "paymentsAccountError",
        "policyFindingError", "policyValidationParameterError", "policyViolationError",
        "productLinkError", "productLinkInvitationError", "rangeError", "reachPlanError",
        "recommendationError", "recommendationSubscriptionError", "regionCodeError",
        "resourceCountLimitExceededError", "searchTermInsightError", "settingError",
        "shareablePreviewError", "sharedCriterionError", "sharedSetError", "shoppingProductError",
        "smartCampaignError", "stringFormatError", "stringLengthError",
        "thirdPartyAppAnalyticsLinkError", "timeZoneError", "urlFieldError", "userDataError",
        "userListCustomerTypeError", "userListError", "videoCampaignError", "videoReservationError",
        "youtubeVideoRegistrationError",
    }
)  # fmt: skip

# Reasons of an ErrorInfo, where the error comes from the layers in front of Google Ads.
REASONS: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.SIGN_IN: ("ACCESS_TOKEN_EXPIRED",),
        Meaning.CREDENTIALS: (
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT", "ACCESS_TOKEN_TYPE_UNSUPPORTED",
            "ACCOUNT_STATE_INVALID", "CREDENTIALS_MISSING", "SESSION_COOKIE_INVALID",
            "USER_BLOCKED_BY_ADMIN",
        ),
        Meaning.APP: (
            "API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "BILLING_DISABLED", "CONSUMER_INVALID",
            "CONSUMER_SUSPENDED", "RESOURCE_PROJECT_INVALID", "SERVICE_DISABLED",
        ),
        Meaning.APP_LIMIT: ("RATE_LIMIT_EXCEEDED", "RESOURCE_QUOTA_EXCEEDED"),
    }
)  # fmt: skip

# The canonical status, where there is nothing else.
# https://cloud.google.com/apis/design/errors#handling_errors
STATUSES: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.SIGN_IN: ("UNAUTHENTICATED",),
        Meaning.PERMISSION: ("PERMISSION_DENIED",),
        Meaning.APP_LIMIT: ("RESOURCE_EXHAUSTED",),
        Meaning.GENERAL: ("ABORTED", "CANCELLED", "DATA_LOSS", "DEADLINE_EXCEEDED", "INTERNAL"),
        Meaning.UNAVAILABLE: ("UNAVAILABLE",),
    }
)  # fmt: skip

# `error` of the token endpoint: RFC 6749, section 5.2, and Google's own.
GRANTS: Mapping[Meaning, Iterable[str]] = MappingProxyType(
    {
        Meaning.CREDENTIALS: (
            "access_denied", "account_selection_required", "admin_policy_enforced",
            "consent_required", "interaction_required", "invalid_grant", "invalid_request",
            "invalid_scope", "invalid_token", "login_required", "unsupported_grant_type",
        ),
        Meaning.CLIENT: (
            "deleted_client", "disabled_client", "invalid_client", "org_internal",
            "restricted_client", "unauthorized_client",
        ),
        Meaning.APP_LIMIT: ("quota_exceeded", "rate_limit_exceeded", "slow_down"),
        Meaning.UNAVAILABLE: ("temporarily_unavailable",),
        Meaning.GENERAL: ("backend_error", "internal_failure", "server_error"),
    }
)  # fmt: skip


def _inverse(table: Mapping[Meaning, Iterable[str]]) -> Mapping[str, Meaning]:
    return {code: meaning for meaning, codes in table.items() for code in codes}


_OF_VALUE = _inverse(VALUES)
_OF_FAMILY = {**_inverse(FAMILIES), **dict.fromkeys(OF_CHANGES, Meaning.REFUSED)}
_OF_REASON = _inverse(REASONS)
_OF_STATUS = _inverse(STATUSES)
_OF_GRANT = _inverse(GRANTS)

# Whose quota it is, according to `rateScope`: https://developers.google.com/google-ads/api/reference/
# rpc/v26/QuotaErrorDetails
_SCOPES = {"ACCOUNT": Meaning.ACCOUNT_LIMIT, "DEVELOPER": Meaning.APP_LIMIT}


def meaning_of(family: str, value: str, rate_scope: str = "") -> Meaning:
    """What a value of a family means; UNKNOWN for a family in no table."""
    meaning = _OF_VALUE.get(value) or _OF_FAMILY.get(family, Meaning.UNKNOWN)
    if meaning in (Meaning.ACCOUNT_LIMIT, Meaning.APP_LIMIT):
        return _SCOPES.get(rate_scope, meaning)
    return meaning


def meaning_of_reason(reason: str) -> Meaning:
    """What an ErrorInfo's reason means; UNKNOWN for one in no table."""
    return _OF_REASON.get(reason, Meaning.UNKNOWN)


def meaning_of_status(status: str) -> Meaning:
    """What a canonical status means; UNKNOWN for one that leaves it open."""
    return _OF_STATUS.get(status, Meaning.UNKNOWN)


def meaning_of_grant(error: str) -> Meaning:
    """What the token endpoint's `error` means; UNKNOWN for one in no table."""
    return _OF_GRANT.get(error, Meaning.UNKNOWN)
