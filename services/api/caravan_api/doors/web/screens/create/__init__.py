"""The page on which a cluster is asked for. Its fields are named as in the spec, so that a field of the form, a field
of the spec and a problem that admission finds have one name; nothing is judged here.

    page.py   the routes: the form with its plan, and asking for what it says
    wish.py   what the form says, as a request; rows added and removed; what clouds offer. Pure
    offered.py  versions, clouds and their machines, as they are offered now; pools' form offers the same
    told.py   the same request as YAML, and as a command. Pure
"""

from caravan_api.doors.web.screens.create.page import router

__all__ = ["router"]
