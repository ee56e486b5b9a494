"""Ways to get a session: by a token, by an OpenID Connect issuer, by being on the sandbox's machine."""
