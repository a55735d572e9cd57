"""The dialects: one module each, imported when first needed (see ``ir.dialect``)."""
