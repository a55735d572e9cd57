"""What compiler and runtime share: coded errors, isolated plugins, debug levels, element types."""

from iree_base.errors import IreeError

__all__ = ["IreeError"]
