"""Traits: facts about every op of a class that passes and the verifier rely on.

Plain strings, so that ``PURE in op.traits`` is one set lookup.
"""

PURE = "pure"  # no side effects: removable when unused, movable, mergeable
COMMUTATIVE = "commutative"
TERMINATOR = "terminator"
RETURN_LIKE = "return-like"  # a terminator whose operands leave the region
ISOLATED = "isolated-from-above"  # regions see no value from outside
SYMBOL_TABLE = "symbol-table"
SYMBOL = "symbol"  # has sym_name
NO_TERMINATOR = "no-terminator"  # its single block needs no terminator
SINGLE_BLOCK = "single-block"
GRAPH_REGION = "graph-region"  # no dominance inside
CONSTANT_LIKE = "constant-like"  # has `value`, no operands
SAME_TYPE = "same-operands-and-result-type"
SAME_OPERAND_TYPES = "same-type-operands"
ELEMENTWISE = "elementwise"  # scalar op that also maps over vectors/tensors of one shape
RECURSIVE_EFFECTS = "recursive-memory-effects"  # as pure as the ops inside
DESTINATION_STYLE = "destination-style"  # the last `outs` operands are tied to the results
CALL_LIKE = "call-like"
ALLOCATES = "allocates"  # result is fresh memory; unused allocation is removable
READS = "reads-memory"  # reads but does not write: removable when unused, not movable over writes
LOOP = "loop-like"  # its regions run again and again: what does not vary inside can move out
