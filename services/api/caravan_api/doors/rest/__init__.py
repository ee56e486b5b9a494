"""The REST API, `/v1`: FastAPI, OpenAPI 3.1 at `/openapi.json`, errors as problem+json. One file a resource."""
