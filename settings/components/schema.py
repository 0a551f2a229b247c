"""OpenAPI: the schema at ``/api/schema``."""

from settings.env import ENVIRONMENT

SPECTACULAR_SETTINGS = {
    "TITLE": f"{ENVIRONMENT['SITE_NAME']} API",
    "DESCRIPTION": "JSON over HTTPS. Errors are problem documents (RFC 9457), lists are keyset pages, heavy work answers 202.",
    "VERSION": "1.0.0",
    "CONTACT": {"name": ENVIRONMENT["SITE_NAME"], "url": ENVIRONMENT["PUBLIC_URL"]},
    "OAS_VERSION": "3.1.1",
    "SERVERS": [
        {
            "url": ENVIRONMENT["PUBLIC_URL"],
            "description": f"The service itself: its {ENVIRONMENT.name} environment.",
            "x-internal": False,
        }
    ],
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    # In this order: responses are added before their headers, and bounds last.
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.practices.errors.schema.describe_everywhere",
        "apps.practices.caching.schema.describe_revalidation",
        "apps.practices.database.schema.describe_rows",
        "apps.practices.headers.schema.describe_headers",
        "apps.practices.validation.schema.describe_bounds",
        "apps.operations.openapi.describe_operations",
    ],
}
