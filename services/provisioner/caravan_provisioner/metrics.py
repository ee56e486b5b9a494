"""What the provisioner counts."""

from prometheus_client import Counter

CLOUD_CALLS = Counter("caravan_cloud_calls_total", "Calls sent to a cloud's API.", ["cloud", "method", "path"])
