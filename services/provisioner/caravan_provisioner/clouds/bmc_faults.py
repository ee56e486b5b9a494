"""What can go wrong between us and a BMC. Each says what, how an operator mends it, and whether another try may help.

BmcFault
├── Unreachable    no answer, or one that tells of passing trouble; nothing was done
├── Untrusted      its certificate is not one to believe; nothing was said to it
├── NotLetIn       it refuses the user or the password, or the user may not do that
├── NoSystem       it has no such system, none, or several and none is named
├── NotRedfish     it answers, but nothing that a BMC would
├── ResetRefused   it resets in no way that would help, or said no
└── Unclear        a reset was sent and no answer came: it may or may not be carried out
"""


class BmcFault(Exception):
    """`says` what was found and `mend` what an operator does about it, as sentences that go on after a semicolon."""

    passes = False
    """Another try may help though nobody has mended anything."""

    def __init__(self, says: str, mend: str) -> None:
        super().__init__(says)
        self.says, self.mend = says, mend

    @property
    def sentence(self) -> str:
        """All of it in one."""
        return f"{self.says}; {self.mend}" + ("; another try may help" if self.passes else "")


class Unreachable(BmcFault):
    """It did not answer, or is in trouble itself."""

    passes = True


class Untrusted(BmcFault):
    """It may be another host than the BMC that was meant."""


class NotLetIn(BmcFault):
    """It does not let us do what was asked for."""


class NoSystem(BmcFault):
    """What machine it would be is not clear."""


class NotRedfish(BmcFault):
    """Rather another device, or one that speaks no Redfish."""


class ResetRefused(BmcFault):
    """Surely nothing was done."""


class Unclear(BmcFault):
    """Never sent again by us: a second reset would cut off what the first one began."""
