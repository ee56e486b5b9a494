"""Log in with the OpenID Connect issuer that the API trusts, stay logged in, log out. Start reading at `command.py`.

A login is an ID token, which the API takes as bearer token, and a refresh token, which gets the next one.
"""
