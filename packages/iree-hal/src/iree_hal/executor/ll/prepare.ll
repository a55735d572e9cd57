; Parameters and binding table -> Dispatch structs, every range checked; errors.

; ---- errors

; The smallest {command, code} of all that are reported wins, whoever comes first.
define internal void @report(ptr %f, i32 %command, i32 %code) nounwind {
  %c = zext i32 %command to i64
  %high = shl i64 %c, 32
  %low = zext i32 %code to i64
  %word = or i64 %high, %low
  %p = addr Frame.error %f
  %old = atomicrmw umin ptr %p, i64 %word seq_cst
  ret void
}

define internal i64 @fault(ptr %f, i32 %command, i32 %code, i32 %detail) nounwind cold {
  %d = zext i32 %detail to i64
  put i64 %d, Frame.detail %f
  call void @report(ptr %f, i32 %command, i32 %code)
  ret i64 -1
}

define internal i1 @failed(ptr %f) alwaysinline nounwind {
  %p = addr Frame.error %f
  %e = load atomic i64, ptr %p monotonic, align 8
  %bad = icmp ne i64 %e, $NO_ERROR
  ret i1 %bad
}

; ---- binding table

; Replace numpy objects by their data and drop the flag bits of lengths. 0, or -1 with the fault recorded.
; The flags of numpy: 1 C-contiguous, 0x400 writeable.
define internal i64 @resolve_table(ptr %f, ptr %plan) nounwind {
entry:
  %table = get Frame.table %f
  %n = get Plan.n_rows %plan
  %written = get Plan.written %plan
  %data.offset = get Frame.data_offset %f
  %flags.offset = get Frame.flags_offset %f
  %data.offset64 = zext i32 %data.offset to i64
  %flags.offset64 = zext i32 %flags.offset to i64
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %continue ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %row = at Row %table, i32 %i
  %length = get Row.length %row
  %plain = icmp ult i64 %length, $READ_ONLY
  br i1 %plain, label %continue, label %flagged
flagged:
  %w.at = at i32 %written, i32 %i
  %w = load i32, ptr %w.at, align 4
  %writes = icmp ne i32 %w, 0
  %clean = and i64 %length, $LENGTH_MASK
  %guarded.bit = and i64 %length, $READ_ONLY
  %guarded = icmp ne i64 %guarded.bit, 0
  %denied = and i1 %guarded, %writes
  br i1 %denied, label %bad.access, label %kind
kind:
  put i64 %clean, Row.length %row
  %indirect = icmp slt i64 %length, 0
  br i1 %indirect, label %object, label %continue
object:
  %o = get Row.address %row
  %flags.at = getelementptr i8, ptr %o, i64 %flags.offset64
  %flags = load i32, ptr %flags.at, align 4
  %contiguous = and i32 %flags, 1
  %is.contiguous = icmp ne i32 %contiguous, 0
  br i1 %is.contiguous, label %access, label %bad.layout
access:
  %writeable = and i32 %flags, 1024
  %read.only = icmp eq i32 %writeable, 0
  %refused = and i1 %read.only, %writes
  br i1 %refused, label %bad.access, label %replace
replace:
  %data.at = getelementptr i8, ptr %o, i64 %data.offset64
  %data = load ptr, ptr %data.at, align 8
  put ptr %data, Row.address %row
  br label %continue
continue:
  %next = add i32 %i, 1
  br label %head
bad.layout:
  %r0 = call i64 @fault(ptr %f, i32 $NO_PARAM, i32 $FAULT_LAYOUT, i32 %i)
  ret i64 -1
bad.access:
  %r1 = call i64 @fault(ptr %f, i32 $NO_PARAM, i32 $FAULT_READ_ONLY, i32 %i)
  ret i64 -1
done:
  ret i64 0
}

; ---- preparing dispatches

; Write the Dispatch of a command from parameters and table. Its tile count, 0 to skip it, -1 after a fault.
define internal i64 @prepare_command(ptr %f, ptr %plan, ptr %c) nounwind {
entry:
  %params = get Frame.params %f
  %table = get Frame.table %f
  %base = get Frame.dispatches %f
  %where = get Command.dispatch %c
  %d = getelementptr i8, ptr %base, i64 %where
  %index = get Command.index %c
  %kind = get Command.kind %c
  %n.constants = get Command.n_constants %c
  %n.refs = get Command.n_refs %c
  %first.constant = get Command.first_constant %c
  %first.ref = get Command.first_ref %c
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %lengths = get Dispatch.lengths %d
  %all.constants = get Plan.constants %plan
  %all.refs = get Plan.refs %plan
  %builtin = icmp ne i32 %kind, $KIND_DISPATCH
  br i1 %builtin, label %refs.entry, label %grid
grid:
  %sx = get Command.count_x %c
  %sy = get Command.count_y %c
  %sz = get Command.count_z %c
  %px = at i64 %params, i32 %sx
  %py = at i64 %params, i32 %sy
  %pz = at i64 %params, i32 %sz
  %x = load i64, ptr %px, align 8
  %y = load i64, ptr %py, align 8
  %z = load i64, ptr %pz, align 8
  %any = or i64 %x, %y
  %all = or i64 %any, %z
  %too.big = icmp ugt i64 %all, 4294967295
  br i1 %too.big, label %bad.count, label %product
product:
  %xy = mul i64 %x, %y
  %z.zero = icmp eq i64 %z, 0
  %xy.zero = icmp eq i64 %xy, 0
  %empty = or i1 %z.zero, %xy.zero
  br i1 %empty, label %skip, label %product.xy
product.xy:
  %xy.big = icmp ugt i64 %xy, 4294967295
  br i1 %xy.big, label %bad.count, label %product.xyz
product.xyz:
  %xyz = mul i64 %xy, %z
  %xyz.big = icmp ugt i64 %xyz, 4294967295
  br i1 %xyz.big, label %bad.count, label %counts
counts:
  %x32 = trunc i64 %x to i32
  %y32 = trunc i64 %y to i32
  %z32 = trunc i64 %z to i32
  put i32 %x32, Dispatch.count_x %d
  put i32 %y32, Dispatch.count_y %d
  put i32 %z32, Dispatch.count_z %d
  br label %constants.head
constants.head:
  %k = phi i32 [ 0, %counts ], [ %k.next, %constants.body ]
  %k.more = icmp ult i32 %k, %n.constants
  br i1 %k.more, label %constants.body, label %refs.entry
constants.body:
  %k.at = add i32 %first.constant, %k
  %word.at = at i32 %all.constants, i32 %k.at
  %word = load i32, ptr %word.at, align 4
  %slot.k = lshr i32 %word, 1
  %half = and i32 %word, 1
  %param.at = at i64 %params, i32 %slot.k
  %param = load i64, ptr %param.at, align 8
  %half.shift = shl i32 %half, 5
  %half64 = zext i32 %half.shift to i64
  %moved = lshr i64 %param, %half64
  %constant = trunc i64 %moved to i32
  %target.k = at i32 %constants, i32 %k
  store i32 %constant, ptr %target.k, align 4
  %k.next = add i32 %k, 1
  br label %constants.head
refs.entry:
  %tiles = phi i64 [ 0, %entry ], [ %xyz, %constants.head ]
  br label %refs.head
refs.head:
  %r = phi i32 [ 0, %refs.entry ], [ %r.next, %ref.store ]
  %r.more = icmp ult i32 %r, %n.refs
  br i1 %r.more, label %ref.body, label %refs.done
ref.body:
  %r.at = add i32 %first.ref, %r
  %ref = at Ref %all.refs, i32 %r.at
  %slot = get Ref.slot %ref
  %so = get Ref.offset %ref
  %sl = get Ref.length %ref
  %mask = get Ref.mask %ref
  %po = at i64 %params, i32 %so
  %pl = at i64 %params, i32 %sl
  %offset = load i64, ptr %po, align 8
  %length = load i64, ptr %pl, align 8
  %row = at Row %table, i32 %slot
  %address = get Row.address %row
  %size = get Row.length %row
  %offset.bad = icmp ugt i64 %offset, %size
  %room = sub i64 %size, %offset
  %length.bad = icmp ugt i64 %length, %room
  %range.bad = or i1 %offset.bad, %length.bad
  br i1 %range.bad, label %bad.range, label %ref.align
ref.align:
  %pointer = getelementptr i8, ptr %address, i64 %offset
  %bits = ptrtoint ptr %pointer to i64
  %mask64 = zext i32 %mask to i64
  %low = and i64 %bits, %mask64
  %aligned = icmp eq i64 %low, 0
  br i1 %aligned, label %ref.store, label %bad.align
ref.store:
  %b.at = at ptr %bindings, i32 %r
  store ptr %pointer, ptr %b.at, align 8
  %l.at = at i64 %lengths, i32 %r
  store i64 %length, ptr %l.at, align 8
  %r.next = add i32 %r, 1
  br label %refs.head
refs.done:
  br i1 %builtin, label %transfer, label %done
transfer:
  ; A fill has the binding {target}, a copy {source, target}.
  %l0 = load i64, ptr %lengths, align 8
  %chunks.0 = add i64 %l0, 65535
  %chunks = lshr i64 %chunks.0, 16
  %chunks.big = icmp ugt i64 %chunks, 4294967295
  br i1 %chunks.big, label %bad.count, label %transfer.counts
transfer.counts:
  %chunks32 = trunc i64 %chunks to i32
  put i32 %chunks32, Dispatch.count_x %d
  put i32 1, Dispatch.count_y %d
  put i32 1, Dispatch.count_z %d
  %is.copy = icmp eq i32 %kind, $KIND_COPY
  br i1 %is.copy, label %copy, label %done
copy:
  %l1.at = getelementptr i8, ptr %lengths, i64 8
  %l1 = load i64, ptr %l1.at, align 8
  %equal = icmp eq i64 %l0, %l1
  br i1 %equal, label %overlap, label %bad.length
overlap:
  %b1.at = getelementptr i8, ptr %bindings, i64 8
  %from = load i64, ptr %bindings, align 8
  %to = load i64, ptr %b1.at, align 8
  %ahead = sub i64 %to, %from
  %behind = sub i64 %from, %to
  %o0 = icmp ult i64 %ahead, %l0
  %o1 = icmp ult i64 %behind, %l0
  %overlaps = or i1 %o0, %o1
  br i1 %overlaps, label %bad.overlap, label %done
done:
  %result = phi i64 [ %tiles, %refs.done ], [ %chunks, %transfer.counts ], [ %chunks, %overlap ]
  ret i64 %result
skip:
  ret i64 0
bad.count:
  %e0 = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_COUNT, i32 0)
  ret i64 -1
bad.range:
  %e1 = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_RANGE, i32 %r)
  ret i64 -1
bad.align:
  %e2 = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_ALIGN, i32 %r)
  ret i64 -1
bad.length:
  %e3 = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_LENGTH, i32 0)
  ret i64 -1
bad.overlap:
  %e4 = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_OVERLAP, i32 0)
  ret i64 -1
}

; Prepare all commands of a wave. The number of tiles, or -1 after a fault.
define internal i64 @prepare_wave(ptr %f, ptr %plan, ptr %wave) nounwind {
entry:
  %first = get Wave.first %wave
  %n = get Wave.count %wave
  %commands = get Plan.commands %plan
  %ends = get Frame.ends %f
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %store ]
  %total = phi i64 [ 0, %entry ], [ %sum, %store ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %j = add i32 %first, %i
  %c = at Command %commands, i32 %j
  %tiles = call i64 @prepare_command(ptr %f, ptr %plan, ptr %c)
  %bad = icmp slt i64 %tiles, 0
  br i1 %bad, label %fail, label %check
check:
  %sum = add i64 %total, %tiles
  %big = icmp ugt i64 %sum, 4294967295
  br i1 %big, label %too.many, label %store
store:
  %end = trunc i64 %sum to i32
  %end.at = at i32 %ends, i32 %i
  store i32 %end, ptr %end.at, align 4
  %next = add i32 %i, 1
  br label %head
too.many:
  %index = get Command.index %c
  %e = call i64 @fault(ptr %f, i32 %index, i32 $FAULT_COUNT, i32 1)
  ret i64 -1
fail:
  ret i64 -1
done:
  %flags = get Frame.flags %f
  %bit = and i32 %flags, $FLAG_SHUFFLE
  %shuffle = icmp ne i32 %bit, 0
  %some = icmp ne i64 %total, 0
  %permute = and i1 %shuffle, %some
  br i1 %permute, label %choose, label %finish
choose:
  call void @choose_permutation(ptr %f, i64 %total)
  br label %finish
finish:
  ret i64 %total
}

; factor coprime to total, so that t -> (factor t + shift) mod total visits every tile once.
define internal void @choose_permutation(ptr %f, i64 %total) nounwind noinline {
entry:
  %seed = get Frame.seed %f
  %mixed = mul i64 %seed, 6364136223846793005
  %mixed1 = add i64 %mixed, 1442695040888963407
  put i64 %mixed1, Frame.seed %f
  %high = lshr i64 %mixed1, 33
  %start = urem i64 %high, %total
  %shift.0 = lshr i64 %mixed1, 17
  %shift = urem i64 %shift.0, %total
  put i64 %shift, Frame.shift %f
  br label %try
try:
  %a = phi i64 [ %start, %entry ], [ %a.next, %reject ]
  br label %gcd
gcd:
  %p = phi i64 [ %a, %try ], [ %q, %gcd.step ]
  %q = phi i64 [ %total, %try ], [ %rest, %gcd.step ]
  %zero = icmp eq i64 %q, 0
  br i1 %zero, label %decide, label %gcd.step
gcd.step:
  %rest = urem i64 %p, %q
  br label %gcd
decide:
  %coprime = icmp eq i64 %p, 1
  br i1 %coprime, label %accept, label %reject
reject:
  %a.next = add i64 %a, 1
  br label %try
accept:
  put i64 %a, Frame.factor %f
  ret void
}
