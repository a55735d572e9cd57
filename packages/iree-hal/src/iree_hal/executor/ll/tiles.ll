; Tiles: which command and workgroup a tile is, and running it; fills and copies.

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
