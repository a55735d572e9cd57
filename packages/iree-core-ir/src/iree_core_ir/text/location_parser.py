"""Locations in text: ``loc("file":1:2)``, names, fused, callsite, unknown and aliases."""

from __future__ import annotations

from iree_core_ir.ir.location import UNKNOWN, CallSiteLoc, FileLoc, FusedLoc, Location, NameLoc
from iree_core_ir.text.attribute_parser import AttributeParser
from iree_core_ir.text.lexer import HASH, STRING


class UndefinedLocationAlias(Exception):
    """``loc(#loc3)`` before ``#loc3 = ...``: MLIR defines location aliases at the end of the file."""


class LocationParser(AttributeParser):
    """Adds ``location_attribute``: ``loc(...)`` from the keyword on."""

    def location_attribute(self, late: bool = False) -> Location:
        """``late``: raise UndefinedLocationAlias for an alias that may still be defined."""
        self.expect("loc")
        self.expect("(")
        try:
            location = self._location_body()
        except UndefinedLocationAlias:
            if late:
                raise
            self.fail(f"{self.shown()} is not defined")
        self.expect(")")
        return location

    def _location_body(self) -> Location:
        if self.kind == STRING:
            name = self.string()
            if self.accept(":"):
                return self._file(name)
            if self.accept("("):
                child = self._location_body()
                self.expect(")")
                return NameLoc(name, child)
            return NameLoc(name)
        if self.accept("unknown"):
            return UNKNOWN
        if self.accept("fused"):
            if self.at("<"):  # metadata carries no meaning here
                self.next()
                self.attribute()
                self.expect(">")
            return FusedLoc(tuple(self.comma_list(self._location_body, "[", "]")))
        if self.accept("callsite"):
            self.expect("(")
            callee = self._location_body()
            self.expect("at")
            caller = self._location_body()
            self.expect(")")
            return CallSiteLoc(callee, caller)
        if self.kind == HASH:
            found = self.attribute_aliases.get(self.tok[1:])
            if found is None:
                raise UndefinedLocationAlias(self.tok)
            if not isinstance(found, Location):
                self.fail(f"'{self.tok}' is no location")
            self.next()
            return found
        if self.at("loc"):
            return self.location_attribute(late=True)
        return self.fail(f"expected a location, got {self.shown()}")

    def _file(self, name: str) -> Location:
        line = self.integer()
        column = 0
        if self.accept(":"):
            column = self.integer()
        if self.accept("to"):  # a range: its start is kept
            if self.accept(":"):
                self.integer()
            else:
                self.integer()
                self.expect(":")
                self.integer()
        return FileLoc(name, line, column)
