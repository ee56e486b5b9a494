"""A real OpenID Connect provider on this machine, and a browser for it without a person.

The provider is django-oauth-toolkit in a process of its own: discovery, authorization code with PKCE, refresh tokens,
revocation, the device grant, keys that rotate. `provider` starts and stops it; `site` is the process.
"""
