"""How a service works, written once: bus, outbox, reconciler, database, secrets, settings, logs, health routes."""
