"""One file a subcommand; each has a click command called ``command``."""
