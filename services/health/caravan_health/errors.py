"""What can go wrong in this service on purpose.

    Exception
    ├── NotAKubeApiserver   an answer that no kube-apiserver gives; `classify` makes an observation of it
    └── CannotAsk           what dns told us of a cluster cannot be used; `watch` makes an observation of it

Whatever happens while asking a cluster is an observation, not an error, and never leaves `probe`. Failures to reach dns
for a certificate are the plumbing's Retry and GiveUp, and `credentials` waits and asks again.
"""


class NotAKubeApiserver(Exception):
    """The far end answered, but not as a kube-apiserver does. `str()` completes "the cluster's address …"."""


class CannotAsk(Exception):
    """The address, the CA or the certificate to ask a cluster with is malformed. `str()` says which and why."""
