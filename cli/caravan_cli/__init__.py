"""The `caravan` command: a client of the REST API, and the local stack (`caravan up`). It imports no service."""
