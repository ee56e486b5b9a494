"""What can be wrong with an issuer's token.

CaravanError
├── Untrusted       the token is not valid, for good: whoever sent it is nobody
└── Retry
    └── IssuerAway  the issuer cannot be asked, so that nothing can be said of who somebody is
"""

from caravan_shared.plumbing.errors import CaravanError, Retry


class Untrusted(CaravanError):
    """This token proves nothing."""


class IssuerAway(Retry):
    """It does not answer as it should; `why` is the end of a sentence, `after` seconds until they are tried again."""

    def __init__(self, issuer: str, why: str, *, after: float) -> None:
        super().__init__(f"the issuer {issuer} cannot be asked: {why}", after=after)
        self.issuer, self.why = issuer, why
