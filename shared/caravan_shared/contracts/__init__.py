"""The whole language between services: specs, states, events and requests. No input, no output, no clock."""
