"""What the audit's screen shows of a change: the fields that differ, and no others."""

from caravan_api.doors.web.screens.audit import differences


def test_fields_that_differ_are_named_with_both_values() -> None:
    before = {"spec": {"version": "1.34.2", "workers": [1], "cloud": "a"}, "paused": None}
    after = {"spec": {"version": "1.35.1", "workers": [2], "cloud": "a"}, "paused": None}
    assert list(differences(before, after)) == [("spec.version", "1.34.2", "1.35.1"), ("spec.workers", [1], [2])]


def test_what_is_new_or_gone_is_told_field_by_field() -> None:
    assert list(differences({}, {"spec": {"cloud": "a"}})) == [("spec.cloud", None, "a")]
    assert list(differences({"role": "owner"}, {})) == [("role", "owner", None)]
