"""The page of one cluster: what it shows is put together in `page`, from pure parts; what can be done there is in
`actions` and `access`, each by the function that REST does it with.

    page.py        what is read and shown
    actions.py     scale, upgrade, replace, retry, lifetime, delete
    access.py      a kubeconfig for oneself, and taking accesses back
    runs.py        what was executed, and its logs
    conditions.py  what holds and what is waited for. Pure
    steps.py       the steps of what was asked last, and how long each took. Pure
    history.py     health and ready nodes over time. Pure
    topology.py    where etcd lives, drawn. Pure
"""

from caravan_api.doors.web.screens.cluster import access, actions, page, runs

ROUTERS = (page.router, actions.router, access.router, runs.router)
