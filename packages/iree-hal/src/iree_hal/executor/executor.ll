; The native executor: parameter programs, dispatch preparation, tiles, tickets, workers.
; Expanded by source.py; the structs and constants are those of structs.py.
;
; Who may touch what: a frame belongs to the thread that calls iree_run; workers touch it only while they
; hold a tile, which Pool.pending counts. The pool belongs to the frame that holds its lease.

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; The number that iree_hal.executor.native compares with its own table.
define i32 @iree_layout_version() nounwind {
  ret i32 $LAYOUT_VERSION
}

define i64 @iree_ticks() nounwind {
  %t = call i64 @ticks()
  ret i64 %t
}

; ---------------------------------------------------------------- parameter program

define internal void @run_program(ptr %plan, ptr %params) nounwind {
entry:
  %n = get Plan.n_steps %plan
  %steps = get Plan.steps %plan
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %write ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %step = at Step %steps, i32 %i
  %op = get Step.op %step
  %ia = get Step.a %step
  %ib = get Step.b %step
  %it = get Step.target %step
  %pa = at i64 %params, i32 %ia
  %pb = at i64 %params, i32 %ib
  %pt = at i64 %params, i32 %it
  %a = load i64, ptr %pa, align 8
  %b = load i64, ptr %pb, align 8
  %next = add i32 %i, 1
  switch i32 %op, label %undefined [
    i32 $OP_ADD, label %add
    i32 $OP_SUB, label %sub
    i32 $OP_MUL, label %mul
    i32 $OP_FLOORDIV, label %divide
    i32 $OP_CEILDIV, label %divide
    i32 $OP_MOD, label %divide
    i32 $OP_MIN, label %min
    i32 $OP_MAX, label %max
    i32 $OP_EQ, label %eq
    i32 $OP_LT, label %lt
  ]
undefined:
  br label %write
add:
  %v.add = add i64 %a, %b
  br label %write
sub:
  %v.sub = sub i64 %a, %b
  br label %write
mul:
  %v.mul = mul i64 %a, %b
  br label %write
min:
  %lt.min = icmp slt i64 %a, %b
  %v.min = select i1 %lt.min, i64 %a, i64 %b
  br label %write
max:
  %lt.max = icmp slt i64 %a, %b
  %v.max = select i1 %lt.max, i64 %b, i64 %a
  br label %write
eq:
  %is.eq = icmp eq i64 %a, %b
  %v.eq = zext i1 %is.eq to i64
  br label %write
lt:
  %is.lt = icmp slt i64 %a, %b
  %v.lt = zext i1 %is.lt to i64
  br label %write
divide:
  ; 0 and -1 never reach the machine's division, which would trap.
  %by.zero = icmp eq i64 %b, 0
  %by.minus = icmp eq i64 %b, -1
  %special = or i1 %by.zero, %by.minus
  %safe = select i1 %special, i64 1, i64 %b
  %quotient = sdiv i64 %a, %safe
  %product = mul i64 %quotient, %safe
  %rest = sub i64 %a, %product
  %exact = icmp eq i64 %rest, 0
  %signs = xor i64 %rest, %safe
  %differ = icmp slt i64 %signs, 0
  %inexact = xor i1 %exact, true
  %down = and i1 %inexact, %differ
  %same = xor i1 %differ, true
  %up = and i1 %inexact, %same
  %down64 = zext i1 %down to i64
  %up64 = zext i1 %up to i64
  %floor0 = sub i64 %quotient, %down64
  %ceil0 = add i64 %quotient, %up64
  %wrapped = select i1 %down, i64 %safe, i64 0
  %mod0 = add i64 %rest, %wrapped
  %negated = sub i64 0, %a
  %floor1 = select i1 %by.minus, i64 %negated, i64 %floor0
  %ceil1 = select i1 %by.minus, i64 %negated, i64 %ceil0
  %mod1 = select i1 %by.minus, i64 0, i64 %mod0
  %is.floor = icmp eq i32 %op, $OP_FLOORDIV
  %is.ceil = icmp eq i32 %op, $OP_CEILDIV
  %v0 = select i1 %is.ceil, i64 %ceil1, i64 %mod1
  %v1 = select i1 %is.floor, i64 %floor1, i64 %v0
  %v.div = select i1 %by.zero, i64 0, i64 %v1
  br label %write
write:
  %v = phi i64 [ 0, %undefined ], [ %v.add, %add ], [ %v.sub, %sub ], [ %v.mul, %mul ], [ %v.min, %min ], [ %v.max, %max ], [ %v.eq, %eq ], [ %v.lt, %lt ], [ %v.div, %divide ]
  store i64 %v, ptr %pt, align 8
  br label %head
done:
  ret void
}

; Fill the parameter block of a frame whose inputs are written, and nothing else.
define void @iree_evaluate(ptr %f) nounwind {
  %plan = get Frame.plan %f
  %params = get Frame.params %f
  call void @run_program(ptr %plan, ptr %params)
  ret void
}

; ---------------------------------------------------------------- errors

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

; ---------------------------------------------------------------- binding table

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

; ---------------------------------------------------------------- preparing dispatches

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

; ---------------------------------------------------------------- tiles

define internal i32 @fill_tile(ptr %d, i32 %x, i32 %pattern) nounwind {
entry:
  %bindings = get Dispatch.bindings %d
  %lengths = get Dispatch.lengths %d
  %p = load ptr, ptr %bindings, align 8
  %n = load i64, ptr %lengths, align 8
  %x64 = zext i32 %x to i64
  %start = mul i64 %x64, $TRANSFER_CHUNK
  %end.0 = add i64 %start, $TRANSFER_CHUNK
  %over = icmp ugt i64 %end.0, %n
  %end = select i1 %over, i64 %n, i64 %end.0
  %words.end.0 = and i64 %end, -4
  br label %words
words:
  %i = phi i64 [ %start, %entry ], [ %i.next, %word ]
  %more = icmp ult i64 %i, %words.end.0
  br i1 %more, label %word, label %bytes
word:
  %w.at = getelementptr i8, ptr %p, i64 %i
  store i32 %pattern, ptr %w.at, align 1
  %i.next = add i64 %i, 4
  br label %words
bytes:
  %j = phi i64 [ %i, %words ], [ %j.next, %byte ]
  %rest = phi i32 [ %pattern, %words ], [ %rest.next, %byte ]
  %j.more = icmp ult i64 %j, %end
  br i1 %j.more, label %byte, label %done
byte:
  %b.at = getelementptr i8, ptr %p, i64 %j
  %b = trunc i32 %rest to i8
  store i8 %b, ptr %b.at, align 1
  %rest.next = lshr i32 %rest, 8
  %j.next = add i64 %j, 1
  br label %bytes
done:
  ret i32 0
}

define internal i32 @copy_tile(ptr %d, i32 %x) nounwind {
  %bindings = get Dispatch.bindings %d
  %lengths = get Dispatch.lengths %d
  %from = load ptr, ptr %bindings, align 8
  %to.at = getelementptr i8, ptr %bindings, i64 8
  %to = load ptr, ptr %to.at, align 8
  %n = load i64, ptr %lengths, align 8
  %x64 = zext i32 %x to i64
  %start = mul i64 %x64, $TRANSFER_CHUNK
  %left = sub i64 %n, %start
  %over = icmp ugt i64 %left, $TRANSFER_CHUNK
  %size = select i1 %over, i64 $TRANSFER_CHUNK, i64 %left
  %source = getelementptr i8, ptr %from, i64 %start
  %target = getelementptr i8, ptr %to, i64 %start
  call void @llvm.memcpy.p0.p0.i64(ptr %target, ptr %source, i64 %size, i1 false)
  ret i32 0
}

; Run tiles [first, first + n) of the wave as worker id. Stops after the first error of any thread.
define internal void @run_tiles(ptr %f, i32 %first, i32 %n, i32 %worker) nounwind noinline {
entry:
  %group = alloca [$Workgroup x i8], align 16
  %plan = get Frame.plan %f
  %waves = get Plan.waves %plan
  %commands = get Plan.commands %plan
  %wave.index = get Frame.wave %f
  %wave = at Wave %waves, i32 %wave.index
  %wave.first = get Wave.first %wave
  %ends = get Frame.ends %f
  %dispatches = get Frame.dispatches %f
  %flags = get Frame.flags %f
  %total = get Frame.total %f
  %factor = get Frame.factor %f
  %shift = get Frame.shift %f
  %bit = and i32 %flags, $FLAG_SHUFFLE
  %shuffle = icmp ne i32 %bit, 0
  %scratch = get Frame.scratch %f
  %scratch.stride = get Frame.scratch_stride %f
  %scratch.bytes = get Frame.scratch_bytes %f
  %worker64 = zext i32 %worker to i64
  %scratch.offset = mul i64 %worker64, %scratch.stride
  %scratch.mine = getelementptr i8, ptr %scratch, i64 %scratch.offset
  put i32 %worker, Workgroup.worker_id %group
  put ptr %scratch.mine, Workgroup.scratch %group
  put i64 %scratch.bytes, Workgroup.scratch_bytes %group
  br label %segment
segment:
  %t = phi i32 [ %first, %entry ], [ %t.next, %advance ]
  %left = phi i32 [ %n, %entry ], [ %left.next, %advance ]
  ; Tiles ascend, so the next command is looked for from the last one on.
  %k.from = phi i32 [ 0, %entry ], [ %k.hint, %advance ]
  %start.from = phi i32 [ 0, %entry ], [ %start.hint, %advance ]
  %more = icmp ne i32 %left, 0
  br i1 %more, label %place, label %done
place:
  br i1 %shuffle, label %permute, label %search.entry
permute:
  %t64 = zext i32 %t to i64
  %total64 = zext i32 %total to i64
  %scaled = mul i64 %t64, %factor
  %shifted = add i64 %scaled, %shift
  %moved = urem i64 %shifted, %total64
  %moved32 = trunc i64 %moved to i32
  br label %search.entry
search.entry:
  %tile = phi i32 [ %t, %place ], [ %moved32, %permute ]
  br label %search
search:
  %k = phi i32 [ %k.from, %search.entry ], [ %k.next, %search.on ]
  %start = phi i32 [ %start.from, %search.entry ], [ %end, %search.on ]
  %end.at = at i32 %ends, i32 %k
  %end = load i32, ptr %end.at, align 4
  %inside = icmp ult i32 %tile, %end
  br i1 %inside, label %found, label %search.on
search.on:
  %k.next = add i32 %k, 1
  br label %search
found:
  %room = sub i32 %end, %tile
  %fits = icmp ule i32 %left, %room
  %run.0 = select i1 %fits, i32 %left, i32 %room
  %run = select i1 %shuffle, i32 1, i32 %run.0
  %local = sub i32 %tile, %start
  %c.index = add i32 %wave.first, %k
  %c = at Command %commands, i32 %c.index
  %function = get Command.function %c
  %kind = get Command.kind %c
  %where = get Command.dispatch %c
  %d = getelementptr i8, ptr %dispatches, i64 %where
  %cx = get Dispatch.count_x %d
  %cy = get Dispatch.count_y %d
  %row = udiv i32 %local, %cx
  %row.tiles = mul i32 %row, %cx
  %x0 = sub i32 %local, %row.tiles
  %z0 = udiv i32 %row, %cy
  %z.rows = mul i32 %z0, %cy
  %y0 = sub i32 %row, %z.rows
  br label %tile.head
tile.head:
  %i = phi i32 [ 0, %found ], [ %i.next, %step ]
  %x = phi i32 [ %x0, %found ], [ %x.next, %step ]
  %y = phi i32 [ %y0, %found ], [ %y.next, %step ]
  %z = phi i32 [ %z0, %found ], [ %z.next, %step ]
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %done, label %call
call:
  put i32 %x, Workgroup.id_x %group
  put i32 %y, Workgroup.id_y %group
  put i32 %z, Workgroup.id_z %group
  switch i32 %kind, label %kernel [
    i32 $KIND_FILL, label %fill
    i32 $KIND_COPY, label %copy
  ]
kernel:
  %r.kernel = call i32 %function(ptr %d, ptr %group)
  br label %returned
fill:
  %pattern = get Command.pattern %c
  %r.fill = call i32 @fill_tile(ptr %d, i32 %x, i32 %pattern)
  br label %returned
copy:
  %r.copy = call i32 @copy_tile(ptr %d, i32 %x)
  br label %returned
returned:
  %r = phi i32 [ %r.kernel, %kernel ], [ %r.fill, %fill ], [ %r.copy, %copy ]
  %fine = icmp eq i32 %r, 0
  br i1 %fine, label %step, label %error
step:
  %x.1 = add i32 %x, 1
  %x.wrap = icmp eq i32 %x.1, %cx
  %x.next = select i1 %x.wrap, i32 0, i32 %x.1
  %y.step = zext i1 %x.wrap to i32
  %y.1 = add i32 %y, %y.step
  %y.wrap = icmp eq i32 %y.1, %cy
  %y.next = select i1 %y.wrap, i32 0, i32 %y.1
  %z.step = zext i1 %y.wrap to i32
  %z.next = add i32 %z, %z.step
  %i.next = add i32 %i, 1
  %again = icmp ult i32 %i.next, %run
  br i1 %again, label %tile.head, label %advance
advance:
  %t.next = add i32 %t, %run
  %left.next = sub i32 %left, %run
  %k.hint = select i1 %shuffle, i32 0, i32 %k
  %start.hint = select i1 %shuffle, i32 0, i32 %start
  br label %segment
error:
  %index = get Command.index %c
  call void @report(ptr %f, i32 %index, i32 %r)
  ret void
done:
  ret void
}

; ---------------------------------------------------------------- waiting and waking

; Sleep while the word holds value, at most nanoseconds (0: no limit). May return early.
define internal void @os_wait(ptr %pool, ptr %word, i32 %value, i64 %nanoseconds) nounwind noinline {
entry:
  %time = alloca [2 x i64], align 8
  %seconds.at = getelementptr i8, ptr %time, i64 0
  %rest.at = getelementptr i8, ptr %time, i64 8
  store i64 0, ptr %seconds.at, align 8
  store i64 %nanoseconds, ptr %rest.at, align 8
  %limited = icmp ne i64 %nanoseconds, 0
  %convention = get Pool.wait_convention %pool
  %number = get Pool.wait_number %pool
  %number64 = zext i32 %number to i64
  %function = get Pool.wait %pool
  %value64 = zext i32 %value to i64
  %futex = icmp eq i32 %convention, 1
  br i1 %futex, label %linux, label %darwin
linux:
  ; FUTEX_WAIT | FUTEX_PRIVATE_FLAG
  %timeout = select i1 %limited, ptr %time, ptr null
  %r0 = call i64 %function(i64 %number64, ptr %word, i64 128, i64 %value64, ptr %timeout, i64 0, i64 0)
  ret void
darwin:
  ; UL_COMPARE_AND_WAIT
  %us = udiv i64 %nanoseconds, 1000
  %us32 = trunc i64 %us to i32
  %r1 = call i32 %function(i32 1, ptr %word, i64 %value64, i32 %us32)
  ret void
}

; Wake up to n threads that sleep on the word.
define internal void @os_wake(ptr %pool, ptr %word, i32 %n) nounwind noinline {
entry:
  %convention = get Pool.wait_convention %pool
  %number = get Pool.wait_number %pool
  %number64 = zext i32 %number to i64
  %function = get Pool.wake %pool
  %n64 = zext i32 %n to i64
  %futex = icmp eq i32 %convention, 1
  br i1 %futex, label %linux, label %darwin
linux:
  ; FUTEX_WAKE | FUTEX_PRIVATE_FLAG
  %r0 = call i64 %function(i64 %number64, ptr %word, i64 129, i64 %n64, ptr null, i64 0, i64 0)
  ret void
darwin:
  ; UL_COMPARE_AND_WAIT | ULF_WAKE_ALL
  %r1 = call i32 %function(i32 257, ptr %word, i64 0)
  ret void
}

; ---------------------------------------------------------------- tickets

; Take some tiles of the open ticket {epoch, remaining} = v, as {taken, index from the end}; 0 taken if it changed.
define internal i32 @take(ptr %pool, i64 %v) alwaysinline nounwind {
  %ticket = addr Pool.ticket %pool
  %shift = get Pool.chunk_shift %pool
  %shift.safe = and i32 %shift, 31
  %rem = trunc i64 %v to i32
  %share = lshr i32 %rem, %shift.safe
  %small = icmp eq i32 %share, 0
  %at.least = select i1 %small, i32 1, i32 %share
  %large = icmp ugt i32 %at.least, 64
  %k = select i1 %large, i32 64, i32 %at.least
  %k64 = zext i32 %k to i64
  %v1 = sub i64 %v, %k64
  %swap = cmpxchg ptr %ticket, i64 %v, i64 %v1 seq_cst acquire
  %ok = extractvalue { i64, i1 } %swap, 1
  %taken = select i1 %ok, i32 %k, i32 0
  ret i32 %taken
}

; k tiles are done; wake the caller if they were the last and it sleeps.
define internal void @complete(ptr %pool, i32 %k) nounwind {
entry:
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %k seq_cst
  %last = icmp eq i32 %old, %k
  br i1 %last, label %look, label %done
look:
  %waiting.at = addr Pool.waiting %pool
  %waiting = load atomic i32, ptr %waiting.at seq_cst, align 4
  %sleeps = icmp ne i32 %waiting, 0
  br i1 %sleeps, label %wake, label %done
wake:
  call void @os_wake(ptr %pool, ptr %pending, i32 1)
  br label %done
done:
  ret void
}

; Return when the epoch is no longer the given one (or, rarely, earlier).
define internal void @wait_epoch(ptr %pool, i32 %epoch) nounwind noinline {
entry:
  %ticket = addr Pool.ticket %pool
  %word = getelementptr i8, ptr %ticket, i64 4
  %sleepers = addr Pool.sleepers %pool
  %spins = get Pool.worker_spin %pool
  br label %spin
spin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %spin.on ]
  %v = load atomic i64, ptr %ticket acquire, align 8
  %high = lshr i64 %v, 32
  %e = trunc i64 %high to i32
  %changed = icmp ne i32 %e, %epoch
  br i1 %changed, label %done, label %spin.more
spin.more:
  %more = icmp ult i32 %i, %spins
  br i1 %more, label %spin.on, label %sleep
spin.on:
  call void @pause()
  %i.next = add i32 %i, 1
  br label %spin
sleep:
  ; Either the publisher sees the sleeper, or this thread sees the new epoch: both are seq_cst.
  %s0 = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %v2 = load atomic i64, ptr %ticket seq_cst, align 8
  %high2 = lshr i64 %v2, 32
  %e2 = trunc i64 %high2 to i32
  %changed2 = icmp ne i32 %e2, %epoch
  br i1 %changed2, label %woken, label %block
block:
  call void @os_wait(ptr %pool, ptr %word, i32 %epoch, i64 0)
  br label %woken
woken:
  %s1 = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}

; The life of a worker thread: take tiles until shutdown.
define void @iree_worker(ptr %pool, i32 %id) nounwind {
entry:
  %fp = call i64 @enter_fp()
  %running = addr Pool.running %pool
  %r0 = atomicrmw add ptr %running, i32 1 seq_cst
  %ticket = addr Pool.ticket %pool
  %limit.at = addr Pool.limit %pool
  %shutdown.at = addr Pool.shutdown %pool
  br label %loop
loop:
  %v = load atomic i64, ptr %ticket acquire, align 8
  %down = load atomic i32, ptr %shutdown.at acquire, align 4
  %leave = icmp ne i32 %down, 0
  br i1 %leave, label %out, label %look
look:
  %rem = trunc i64 %v to i32
  %closed = icmp eq i32 %rem, 0
  br i1 %closed, label %idle, label %allowed
allowed:
  ; A limit of a later epoch than v's does no harm: taking then fails.
  %limit = load atomic i32, ptr %limit.at acquire, align 4
  %may = icmp ult i32 %id, %limit
  br i1 %may, label %try, label %idle
idle:
  %high = lshr i64 %v, 32
  %epoch = trunc i64 %high to i32
  call void @wait_epoch(ptr %pool, i32 %epoch)
  br label %loop
try:
  %k = call i32 @take(ptr %pool, i64 %v)
  %none = icmp eq i32 %k, 0
  br i1 %none, label %loop, label %run
run:
  ; Holding tiles: the frame cannot go away or change before complete().
  %f = get Pool.frame %pool
  %total = get Frame.total %f
  %first = sub i32 %total, %rem
  call void @run_tiles(ptr %f, i32 %first, i32 %k, i32 %id)
  call void @complete(ptr %pool, i32 %k)
  br label %loop
out:
  %r1 = atomicrmw sub ptr %running, i32 1 seq_cst
  call void @leave_fp(i64 %fp)
  ret void
}

; Open a new epoch with Frame.remaining tiles; the caller holds the lease and no tile is out.
; Wakes as many workers as pay for themselves: one per 4 thresholds of work (ticks), since waking one costs
; the caller a system call. Workers that are still spinning come by themselves.
define internal void @publish(ptr %pool, ptr %f, i64 %work) nounwind {
entry:
  %ticket = addr Pool.ticket %pool
  %limit.at = addr Pool.limit %pool
  %pending.at = addr Pool.pending %pool
  %threads = get Frame.threads %f
  %shift = get Frame.chunk_shift %f
  %remaining = get Frame.remaining %f
  put ptr %f, Pool.frame %pool
  put i32 %shift, Pool.chunk_shift %pool
  store atomic i32 %threads, ptr %limit.at release, align 4
  store atomic i32 %remaining, ptr %pending.at release, align 4
  %old = load atomic i64, ptr %ticket monotonic, align 8
  %epoch = lshr i64 %old, 32
  %epoch1 = add i64 %epoch, 1
  %high = shl i64 %epoch1, 32
  %low = zext i32 %remaining to i64
  %v = or i64 %high, %low
  store atomic i64 %v, ptr %ticket seq_cst, align 8
  %sleepers.at = addr Pool.sleepers %pool
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %any = icmp ne i32 %sleepers, 0
  br i1 %any, label %wake, label %done
wake:
  ; A worker beyond the limit might be the one that wakes, so a capped frame wakes all.
  %n = get Pool.n_workers %pool
  %all = icmp ugt i32 %threads, %n
  %others = sub i32 %remaining, 1
  %others64 = zext i32 %others to i64
  %threshold = get Frame.threshold %f
  %price = shl i64 %threshold, 2
  %worth = udiv i64 %work, %price
  %fewer = icmp ult i64 %worth, %others64
  %useful = select i1 %fewer, i64 %worth, i64 %others64
  %useful32 = trunc i64 %useful to i32
  %count = select i1 %all, i32 %useful32, i32 2147483647
  %signed = and i32 %count, 2147483647
  %pays = icmp ne i64 %worth, 0
  br i1 %pays, label %call, label %done
call:
  %word = getelementptr i8, ptr %ticket, i64 4
  call void @os_wake(ptr %pool, ptr %word, i32 %signed)
  br label %done
done:
  ret void
}

; Close the open ticket: the tiles nobody took go back to Frame.remaining.
define internal void @close(ptr %pool, ptr %f) nounwind {
entry:
  %ticket = addr Pool.ticket %pool
  br label %loop
loop:
  %v = load atomic i64, ptr %ticket acquire, align 8
  %rem = trunc i64 %v to i32
  %closed = and i64 %v, -4294967296
  %swap = cmpxchg ptr %ticket, i64 %v, i64 %closed seq_cst acquire
  %ok = extractvalue { i64, i1 } %swap, 1
  br i1 %ok, label %done, label %loop
done:
  put i32 %rem, Frame.remaining %f
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %rem seq_cst
  ret void
}

; ---------------------------------------------------------------- waves

; 1 when the frame should yield: told to stop, or past its deadline.
define internal i1 @expired(ptr %f) nounwind {
entry:
  %stop.at = addr Frame.stop %f
  %stop = load atomic i32, ptr %stop.at monotonic, align 4
  %told = icmp ne i32 %stop, 0
  br i1 %told, label %yes, label %clock
clock:
  %deadline = get Frame.deadline %f
  %now = call i64 @ticks()
  %past = icmp uge i64 %now, %deadline
  %last = get Frame.last_check %f
  put i64 %now, Frame.last_check %f
  ; Look at the clock about every 8 thresholds, and never rarer than every 32 tiles.
  %since = sub i64 %now, %last
  %threshold = get Frame.threshold %f
  %short.limit = shl i64 %threshold, 3
  %short = icmp ult i64 %since, %short.limit
  %stride = get Frame.stride %f
  %double = shl i32 %stride, 1
  %capped.0 = icmp ugt i32 %double, 32
  %capped = select i1 %capped.0, i32 32, i32 %double
  %new = select i1 %short, i32 %capped, i32 1
  put i32 %new, Frame.stride %f
  put i32 %new, Frame.until_check %f
  ret i1 %past
yes:
  ret i1 true
}

; Remember ticks / tiles as the wave's cost, smoothed.
define internal void @note_cost(ptr %wave, i64 %ticks, i32 %tiles) nounwind {
entry:
  %none = icmp eq i32 %tiles, 0
  br i1 %none, label %done, label %note
note:
  %n = zext i32 %tiles to i64
  %each = udiv i64 %ticks, %n
  %some = add i64 %each, 1
  %big = icmp ugt i64 %some, 1000000000
  %cost = select i1 %big, i64 1000000000, i64 %some
  %at = addr Wave.cost %wave
  %old = load atomic i32, ptr %at monotonic, align 4
  %old64 = zext i32 %old to i64
  %new = icmp eq i32 %old, 0
  %thrice = mul i64 %old64, 3
  %sum = add i64 %thrice, %cost
  %quarter = lshr i64 %sum, 2
  %value = select i1 %new, i64 %cost, i64 %quarter
  %value32 = trunc i64 %value to i32
  store atomic i32 %value32, ptr %at monotonic, align 4
  br label %done
done:
  ret void
}

; Run the open wave on this thread alone. DONE or YIELD.
define internal i32 @execute_alone(ptr %f, ptr %wave, i1 %measure) nounwind {
entry:
  %total = get Frame.total %f
  %before = get Frame.remaining %f
  br i1 %measure, label %clock, label %begin
clock:
  %t0.clock = call i64 @ticks()
  br label %begin
begin:
  %t0 = phi i64 [ 0, %entry ], [ %t0.clock, %clock ]
  br label %head
head:
  %left = get Frame.remaining %f
  %more = icmp ne i32 %left, 0
  br i1 %more, label %some, label %done
some:
  %until = get Frame.until_check %f
  %due = icmp eq i32 %until, 0
  br i1 %due, label %look, label %run
look:
  %late = call i1 @expired(ptr %f)
  br i1 %late, label %yield, label %head
run:
  %fits = icmp ult i32 %left, %until
  %n = select i1 %fits, i32 %left, i32 %until
  %first = sub i32 %total, %left
  call void @run_tiles(ptr %f, i32 %first, i32 %n, i32 0)
  %rest = sub i32 %left, %n
  put i32 %rest, Frame.remaining %f
  %until.1 = sub i32 %until, %n
  put i32 %until.1, Frame.until_check %f
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %yield, label %head
done:
  br i1 %measure, label %note, label %out
note:
  %t1 = call i64 @ticks()
  %ticks = sub i64 %t1, %t0
  call void @note_cost(ptr %wave, i64 %ticks, i32 %before)
  br label %out
out:
  ret i32 $DONE
yield:
  ret i32 $YIELD
}

; Wait until no tile is out. DONE when Frame.remaining is 0 too, YIELD when not, WAIT when the deadline passed.
define internal i32 @await(ptr %pool, ptr %f) nounwind {
entry:
  %pending = addr Pool.pending %pool
  %waiting = addr Pool.waiting %pool
  %spins = get Pool.caller_spin %pool
  br label %spin
spin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %spin.on ]
  %p = load atomic i32, ptr %pending acquire, align 4
  %none = icmp eq i32 %p, 0
  br i1 %none, label %finished, label %spin.more
spin.more:
  %again = icmp ult i32 %i, %spins
  br i1 %again, label %spin.on, label %sleep.entry
spin.on:
  call void @pause()
  %i.next = add i32 %i, 1
  br label %spin
sleep.entry:
  store atomic i32 1, ptr %waiting seq_cst, align 4
  br label %sleep
sleep:
  %q = load atomic i32, ptr %pending seq_cst, align 4
  %empty = icmp eq i32 %q, 0
  br i1 %empty, label %awake, label %block
block:
  ; 5 ms at a time, to look at the deadline.
  call void @os_wait(ptr %pool, ptr %pending, i32 %q, i64 5000000)
  %q2 = load atomic i32, ptr %pending seq_cst, align 4
  %empty2 = icmp eq i32 %q2, 0
  br i1 %empty2, label %awake, label %clock
clock:
  %deadline = get Frame.deadline %f
  %now = call i64 @ticks()
  %late = icmp uge i64 %now, %deadline
  br i1 %late, label %give.up, label %sleep
give.up:
  store atomic i32 0, ptr %waiting seq_cst, align 4
  put i32 $STRAGGLING, Frame.state %f
  ret i32 $WAIT
awake:
  store atomic i32 0, ptr %waiting seq_cst, align 4
  br label %finished
finished:
  put i32 $OPEN, Frame.state %f
  %left = get Frame.remaining %f
  %complete = icmp eq i32 %left, 0
  %r = select i1 %complete, i32 $DONE, i32 $YIELD
  ret i32 %r
}

; Run the open wave together with the workers. DONE, YIELD or WAIT.
define internal i32 @execute_together(ptr %pool, ptr %f, ptr %wave, i64 %work) nounwind {
entry:
  call void @publish(ptr %pool, ptr %f, i64 %work)
  put i32 0, Frame.remaining %f
  %total = get Frame.total %f
  %ticket = addr Pool.ticket %pool
  br label %loop
loop:
  ; The cost of a tile is what the caller's own tiles take, without taking tickets and waiting.
  %mine = phi i32 [ 0, %entry ], [ %mine, %try ], [ %mine.1, %count ]
  %busy = phi i64 [ 0, %entry ], [ %busy, %try ], [ %busy.1, %count ]
  %v = load atomic i64, ptr %ticket acquire, align 8
  %rem = trunc i64 %v to i32
  %closed = icmp eq i32 %rem, 0
  br i1 %closed, label %out, label %try
try:
  %k = call i32 @take(ptr %pool, i64 %v)
  %lost = icmp eq i32 %k, 0
  br i1 %lost, label %loop, label %run
run:
  %first = sub i32 %total, %rem
  %t0 = call i64 @ticks()
  call void @run_tiles(ptr %f, i32 %first, i32 %k, i32 0)
  %t1 = call i64 @ticks()
  %spent = sub i64 %t1, %t0
  %busy.1 = add i64 %busy, %spent
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %k seq_cst
  %mine.1 = add i32 %mine, %k
  %until = get Frame.until_check %f
  %due = icmp ule i32 %until, %k
  br i1 %due, label %look, label %later
later:
  %until.1 = sub i32 %until, %k
  put i32 %until.1, Frame.until_check %f
  br label %count
look:
  %late = call i1 @expired(ptr %f)
  br i1 %late, label %stop, label %count
count:
  br label %loop
stop:
  call void @close(ptr %pool, ptr %f)
  br label %out
out:
  %tiles = phi i32 [ %mine, %loop ], [ %mine.1, %stop ]
  %ticks = phi i64 [ %busy, %loop ], [ %busy.1, %stop ]
  call void @note_cost(ptr %wave, i64 %ticks, i32 %tiles)
  %r = call i32 @await(ptr %pool, ptr %f)
  ret i32 %r
}

; Run the open wave in the way that suits it. DONE, YIELD or WAIT.
define internal i32 @execute(ptr %f, ptr %wave) nounwind {
entry:
  %pool = get Frame.pool %f
  %no.pool = icmp eq ptr %pool, null
  br i1 %no.pool, label %alone, label %workers
workers:
  %n = get Pool.n_workers %pool
  %no.workers = icmp eq i32 %n, 0
  %remaining = get Frame.remaining %f
  %one = icmp ult i32 %remaining, 2
  %skip = or i1 %no.workers, %one
  br i1 %skip, label %alone, label %estimate
estimate:
  %cost.at = addr Wave.cost %wave
  %cost = load atomic i32, ptr %cost.at monotonic, align 4
  %known = icmp ne i32 %cost, 0
  %cost64 = zext i32 %cost to i64
  %tiles64 = zext i32 %remaining to i64
  %work.0 = mul i64 %cost64, %tiles64
  %work = select i1 %known, i64 %work.0, i64 -1
  %threshold = get Frame.threshold %f
  %little = icmp ult i64 %work, %threshold
  br i1 %little, label %measured, label %lease
lease:
  %leased = get Frame.leased %f
  %mine = icmp ne i32 %leased, 0
  br i1 %mine, label %together, label %acquire
acquire:
  %lease.at = addr Pool.lease %pool
  %swap = cmpxchg ptr %lease.at, i32 0, i32 1 seq_cst monotonic
  %got = extractvalue { i32, i1 } %swap, 1
  br i1 %got, label %own, label %alone
own:
  put i32 1, Frame.leased %f
  br label %together
together:
  %r0 = call i32 @execute_together(ptr %pool, ptr %f, ptr %wave, i64 %work)
  ret i32 %r0
measured:
  ; Measuring costs as much as a small tile: every 16th run is enough to notice a change.
  %runs = get Frame.runs %f
  %phase = and i32 %runs, 15
  %turn = icmp eq i32 %phase, 0
  %r1 = call i32 @execute_alone(ptr %f, ptr %wave, i1 %turn)
  ret i32 %r1
alone:
  %r2 = call i32 @execute_alone(ptr %f, ptr %wave, i1 false)
  ret i32 %r2
}

; ---------------------------------------------------------------- frames

define internal i32 @run_frame(ptr %f) nounwind {
entry:
  %plan = get Frame.plan %f
  %waves = get Plan.waves %plan
  %n.waves = get Plan.n_waves %plan
  %budget = get Frame.budget %f
  %now = call i64 @ticks()
  %unlimited = icmp eq i64 %budget, 0
  %end = add i64 %now, %budget
  %deadline = select i1 %unlimited, i64 -1, i64 %end
  put i64 %deadline, Frame.deadline %f
  put i64 %now, Frame.last_check %f
  put i32 8, Frame.until_check %f
  put i32 8, Frame.stride %f
  %state = get Frame.state %f
  switch i32 %state, label %start [
    i32 $READY, label %next
    i32 $OPEN, label %run
    i32 $STRAGGLING, label %straggling
  ]
start:
  %runs = get Frame.runs %f
  %runs.1 = add i32 %runs, 1
  put i32 %runs.1, Frame.runs %f
  put i64 $NO_ERROR, Frame.error %f
  put i32 0, Frame.wave %f
  %resolved = call i64 @resolve_table(ptr %f, ptr %plan)
  %unusable = icmp ne i64 %resolved, 0
  br i1 %unusable, label %error, label %program
program:
  %params = get Frame.params %f
  call void @run_program(ptr %plan, ptr %params)
  %arena.param = get Plan.arena_param %plan
  %no.arena = icmp eq i32 %arena.param, $NO_PARAM
  br i1 %no.arena, label %begin, label %arena
arena:
  %wanted.at = at i64 %params, i32 %arena.param
  %wanted = load i64, ptr %wanted.at, align 8
  %table = get Frame.table %f
  %capacity = get Row.length %table
  %grow = icmp ugt i64 %wanted, %capacity
  br i1 %grow, label %grow.arena, label %begin
grow.arena:
  ret i32 $GROW
begin:
  put i32 $READY, Frame.state %f
  br label %next
next:
  %w = get Frame.wave %f
  %finished = icmp uge i32 %w, %n.waves
  br i1 %finished, label %complete, label %open
open:
  %wave = at Wave %waves, i32 %w
  %kind = get Wave.kind %wave
  %host = icmp eq i32 %kind, $WAVE_HOST_CALL
  br i1 %host, label %host.call, label %prepare
prepare:
  %total = call i64 @prepare_wave(ptr %f, ptr %plan, ptr %wave)
  %bad = icmp slt i64 %total, 0
  br i1 %bad, label %error, label %prepared
prepared:
  %total32 = trunc i64 %total to i32
  put i32 %total32, Frame.total %f
  put i32 %total32, Frame.remaining %f
  put i32 $OPEN, Frame.state %f
  br label %run
straggling:
  %pool = get Frame.pool %f
  %s = call i32 @await(ptr %pool, ptr %f)
  %still = icmp eq i32 %s, $WAIT
  br i1 %still, label %wait, label %caught.up
wait:
  ret i32 $WAIT
caught.up:
  %left = get Frame.remaining %f
  %all = icmp eq i32 %left, 0
  br i1 %all, label %ran, label %resume
resume:
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %error, label %told
told:
  %stop.at = addr Frame.stop %f
  %stop.now = load atomic i32, ptr %stop.at monotonic, align 4
  %halt = icmp ne i32 %stop.now, 0
  br i1 %halt, label %yield, label %run
run:
  %left.run = get Frame.remaining %f
  %nothing = icmp eq i32 %left.run, 0
  br i1 %nothing, label %ran, label %work
work:
  %w.run = get Frame.wave %f
  %wave.run = at Wave %waves, i32 %w.run
  %r = call i32 @execute(ptr %f, ptr %wave.run)
  %must.wait = icmp eq i32 %r, $WAIT
  br i1 %must.wait, label %wait, label %check
check:
  %bad.run = call i1 @failed(ptr %f)
  br i1 %bad.run, label %error, label %progress
progress:
  %more = icmp eq i32 %r, $YIELD
  br i1 %more, label %yield, label %ran
ran:
  %bad.ran = call i1 @failed(ptr %f)
  br i1 %bad.ran, label %error, label %advance
advance:
  %w.ran = get Frame.wave %f
  %w.next = add i32 %w.ran, 1
  put i32 %w.next, Frame.wave %f
  put i32 $READY, Frame.state %f
  %flags = get Frame.flags %f
  %step = and i32 %flags, $FLAG_STEP
  %stepping = icmp ne i32 %step, 0
  br i1 %stepping, label %yield, label %next
host.call:
  %w.host = add i32 %w, 1
  put i32 %w.host, Frame.wave %f
  ret i32 $HOST_CALL
yield:
  ret i32 $YIELD
error:
  put i32 $START, Frame.state %f
  ret i32 $ERROR
complete:
  put i32 $START, Frame.state %f
  ret i32 $DONE
}

; Run a frame until it is done, yields, waits, wants the host, fails or needs a larger arena.
define i32 @iree_run(ptr %f) nounwind {
entry:
  %fp = call i64 @enter_fp()
  %r = call i32 @run_frame(ptr %f)
  %wait = icmp eq i32 %r, $WAIT
  br i1 %wait, label %done, label %lease
lease:
  %leased = get Frame.leased %f
  %mine = icmp ne i32 %leased, 0
  br i1 %mine, label %release, label %done
release:
  put i32 0, Frame.leased %f
  %pool = get Frame.pool %f
  %lease.at = addr Pool.lease %pool
  store atomic i32 0, ptr %lease.at release, align 4
  br label %done
done:
  call void @leave_fp(i64 %fp)
  ret i32 %r
}

; Take the lease for something other than a frame (fork, shutdown). 1 when it was free.
define i32 @iree_lease(ptr %pool) nounwind {
  %lease.at = addr Pool.lease %pool
  %swap = cmpxchg ptr %lease.at, i32 0, i32 1 seq_cst monotonic
  %got = extractvalue { i32, i1 } %swap, 1
  %r = zext i1 %got to i32
  ret i32 %r
}

define void @iree_release(ptr %pool) nounwind {
  %lease.at = addr Pool.lease %pool
  store atomic i32 0, ptr %lease.at release, align 4
  ret void
}

; Tell all workers to return; the caller holds the lease.
define void @iree_shutdown(ptr %pool) nounwind {
  %shutdown.at = addr Pool.shutdown %pool
  store atomic i32 1, ptr %shutdown.at seq_cst, align 4
  %ticket = addr Pool.ticket %pool
  %old = atomicrmw add ptr %ticket, i64 4294967296 seq_cst
  %word = getelementptr i8, ptr %ticket, i64 4
  call void @os_wake(ptr %pool, ptr %word, i32 2147483647)
  ret void
}
