"""Settings of a team, a tab each: members, quotas, tokens, notifications."""
