"""How often each promise is tried: a short form of seconds for every change, and the full count.

A test names its size by the `promises` mark. What each promise means stands in docs/promises.md, under the same words.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """One trial of a promise: what is counted, and how much of it."""

    key: str
    """Names the trial in reports, and is part of its seed."""
    promise: str
    unit: str
    short: int
    full: int


DISORDER = "Duplicates and disorder are harmless"
STALE = "A stale worker is powerless"
POISON = "Poison is visible"
RETRY = "A retry over REST is safe"
ONE_MACHINE = "No machine is created twice, none leaks"
MALFORMED = "Malformed input is refused clearly"
DELETE = "Delete completes from every state"
MONITOR = "A monitor in trouble never says broken"
TEXT = "User text is data"
STARVING = "A slow cluster starves no other"
KEPT = "No acknowledged request is lost"
FOUND = "Real outages are found"
APART = "Teams are apart"
SECRET = "Secrets stay secret"
RIGHT_HOST = "Only the right host is configured"
SHORT_LIVED = "Kubeconfigs are short-lived and revocable"

FACTS_IN_DISORDER = Size("disorder-rows", DISORDER, "facts told", 600, 100_000)
EVENTS_IN_DISORDER = Size("disorder-bus", DISORDER, "events published", 200, 20_000)
PAUSES_BY_THE_CLOCK = Size("stale-clock", STALE, "pauses", 100, 1_000)
PROCESSES_STOPPED = Size("stale-process", STALE, "processes stopped past their lease", 4, 1_000)
POISON_AMONG_GOOD = Size("poison", POISON, "messages, one in eleven of them poison", 330, 11_000)
POISON_NESTED_DEEP = Size("poison-nested", POISON, "message nested ten thousand deep", 1, 1)
REPEATED_REQUESTS = Size("retry-key", RETRY, "operations sent several times at once", 60, 10_000)
LOST_UPDATES = Size("retry-match", RETRY, "races of writers with one ETag", 20, 2_000)
REPLIES_LOST = Size("machines-replies-lost", ONE_MACHINE, "machines made by a create whose reply was lost", 30, 10_000)
SWEEPS_IN_DOUBT = Size("machines-swept", ONE_MACHINE, "stores swept beside another's machines", 6, 200)
CASES_A_ROUTE = Size("malformed-rest", MALFORMED, "requests a route", 2, 1_000)
EVENTS_FUZZED = Size("malformed-events", MALFORMED, "events", 600, 100_000)
HALF_A_CHARACTER = Size("malformed-surrogate", MALFORMED, "event with half a character", 1, 1)
DELETED_ANYWHERE = Size("delete-states", DELETE, "deletes in a state with a late event", 40, 2_000)
DELETED_IN_DNS = Size("delete-dns", DELETE, "deletes in a state of dns with late events", 60, 2_000)
DELETED_IN_HEALTH = Size("delete-health", DELETE, "deletes in a state of health with late events", 60, 2_000)
DELETED_WHILE_MADE = Size("delete-bootstrapper", DELETE, "deletes at any moment of a cluster's making", 6, 200)
LOOKS_OF_A_STALLED_MONITOR = Size("monitor-stalled", MONITOR, "looks at healthy clusters", 2_000, 1_000_000)
FLEETS_OUT_OF_SIGHT = Size("monitor-cut", MONITOR, "healthy clusters out of sight", 60, 20_000)
LOOKS_OF_A_STARVED_MONITOR = Size("monitor-starved", MONITOR, "looks with a tenth of a CPU at most", 1_000, 100_000)
FLEETS_WITHOUT_FILES = Size("monitor-no-files", MONITOR, "healthy clusters, no file descriptors", 100, 10_000)
LOOKS_BESIDE_SLOW_CLUSTERS = Size("slow-clusters", STARVING, "looks", 1_000, 200_000)
HOSTILE_TEXTS = Size("text-ansible", TEXT, "hostile texts through Ansible", 200, 10_000)
OPERATIONS_UNDER_FIRE = Size("requests-kept", KEPT, "operations acknowledged while processes are killed", 12, 1_000)
OPERATIONS_CUT_OFF = Size("requests-cut", KEPT, "operations acknowledged while networks are cut", 4, 300)
OUTAGES = Size("outages-found", FOUND, "clusters that died among nine times as many healthy ones", 10, 100)
KUBECONFIGS = Size("kubeconfigs", SHORT_LIVED, "kubeconfigs", 10, 1_000)
REQUESTS_OF_OTHERS = Size("teams-routes", APART, "rounds of every route with every foreign credential", 1, 50)
SUBJECTS_OF_OTHERS = Size("teams-subjects", APART, "rounds of every subject with a team's credentials", 4, 200)
CHANGES_BY_SOMEBODY = Size("teams-changes", APART, "changes through all four doors", 60, 5_000)
CANARIES = Size("secrets-canaries", SECRET, "secrets planted while processes are killed", 24, 100)
HOSTS_SUBSTITUTED = Size("hosts-substituted", RIGHT_HOST, "hosts with another in their place", 10, 100)
TEXTS_IN_TEMPLATES = Size("text-templates", TEXT, "hostile texts through each template and user-data", 200, 10_000)
ADDRESSES_OF_USERS = Size("text-addresses", TEXT, "addresses that lead elsewhere, where users name some", 300, 10_000)
