"""The iree command."""
