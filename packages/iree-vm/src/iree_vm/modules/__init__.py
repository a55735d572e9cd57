"""VM modules provided by the runtime itself."""
