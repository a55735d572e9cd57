"""One file a pass, named as on the command line (dashes become underscores)."""
