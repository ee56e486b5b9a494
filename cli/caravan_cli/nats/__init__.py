"""Who may do what on the NATS server: one account for Caravan's services, one a team, one for the server's operator."""
