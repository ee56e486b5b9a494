"""Names that go into records and certificates: the endpoint's host name, and who a certificate is for. Pure."""

from caravan_dns.errors import RefusedUser
from caravan_shared.contracts.users import why_no_user


def endpoint_host(template: str, *, name: str, team: str, origin: str) -> str:
    """The fully qualified name of a cluster's endpoint, without the final dot."""
    return template.format(name=name, team=team, origin=origin.rstrip(".")).lower()


def checked_user(user: str) -> str:
    """The name itself if a certificate may carry it as its CN, which Kubernetes takes for the user's name.

    Raises RefusedUser.
    """
    if problem := why_no_user(user):
        raise RefusedUser(problem)
    return user
