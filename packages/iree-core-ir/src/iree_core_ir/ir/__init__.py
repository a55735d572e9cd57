"""The data structures of the IR: attributes, types, affine maps, locations, operations."""
