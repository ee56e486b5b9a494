"""The screens, a module each. How one is added stands in `caravan_api.doors.web`."""
