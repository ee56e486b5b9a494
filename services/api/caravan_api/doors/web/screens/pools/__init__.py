"""Pools: looked at, taken from, asked for, changed and let go, each by the function that REST does it with.

page.py   all pools, one pool, and taking a lease
form.py   the form in which a pool is asked for or changed, and letting one go
wish.py   what that form says, as a spec or as a change of one. Pure
"""

from caravan_api.doors.web.screens.pools import form, page

ROUTERS = (form.router, page.router)  # `/pools/new` stands before what takes any name
