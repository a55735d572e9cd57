"""The op lowerings, one file a family; ``table.FAMILIES`` lists them."""
