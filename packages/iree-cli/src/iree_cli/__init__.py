"""The ``iree`` command: compile, run, benchmark and look into models.

``main`` is the script; ``commands`` holds one file per subcommand. Running needs iree-vm and iree-hal
only; what compiles is imported by the command that needs it.
"""
