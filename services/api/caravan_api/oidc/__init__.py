"""Bearer tokens that an OpenID Connect issuer signed: whom they stand for. Start reading at `issuers.py`.

An issuer vouches for who somebody is and which groups they are in; what they may do is decided elsewhere.
"""
