; Kernels of the conformance suite; kernels.py says what each does. Expanded like the executor.

define i32 @add(ptr %d, ptr %w) nounwind {
entry:
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %n = load i32, ptr %constants, align 4
  %x = get Workgroup.id_x %w
  %pa = load ptr, ptr %bindings, align 8
  %pb.at = getelementptr ptr, ptr %bindings, i64 1
  %pb = load ptr, ptr %pb.at, align 8
  %pc.at = getelementptr ptr, ptr %bindings, i64 2
  %pc = load ptr, ptr %pc.at, align 8
  %start = mul i32 %x, 64
  %end.0 = add i32 %start, 64
  %over = icmp ugt i32 %end.0, %n
  %end = select i1 %over, i32 %n, i32 %end.0
  br label %head
head:
  %i = phi i32 [ %start, %entry ], [ %next, %body ]
  %more = icmp ult i32 %i, %end
  br i1 %more, label %body, label %done
body:
  %a.at = at i32 %pa, i32 %i
  %b.at = at i32 %pb, i32 %i
  %c.at = at i32 %pc, i32 %i
  %a = load float, ptr %a.at, align 4
  %b = load float, ptr %b.at, align 4
  %c = fadd float %a, %b
  store float %c, ptr %c.at, align 4
  %next = add i32 %i, 1
  br label %head
done:
  ret i32 0
}

define i32 @scale(ptr %d, ptr %w) nounwind {
entry:
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %s.at = getelementptr i32, ptr %constants, i64 0
  %s = load float, ptr %s.at, align 4
  %x = get Workgroup.id_x %w
  %pa = load ptr, ptr %bindings, align 8
  %pb.at = getelementptr ptr, ptr %bindings, i64 1
  %pb = load ptr, ptr %pb.at, align 8
  %a.at = at i32 %pa, i32 %x
  %b.at = at i32 %pb, i32 %x
  %a = load float, ptr %a.at, align 4
  %b = fmul float %a, %s
  store float %b, ptr %b.at, align 4
  ret i32 0
}

define i32 @store_constants(ptr %d, ptr %w) nounwind {
entry:
  %n = get Dispatch.n_constants %d
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %from = at i32 %constants, i32 %i
  %to = at i32 %out, i32 %i
  %v = load i32, ptr %from, align 4
  store i32 %v, ptr %to, align 4
  %next = add i32 %i, 1
  br label %head
done:
  ret i32 0
}

define i32 @store_ids(ptr %d, ptr %w) nounwind {
  %constants = get Dispatch.constants %d
  %cx = load i32, ptr %constants, align 4
  %cy.at = getelementptr i32, ptr %constants, i64 1
  %cy = load i32, ptr %cy.at, align 4
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  %x = get Workgroup.id_x %w
  %y = get Workgroup.id_y %w
  %z = get Workgroup.id_z %w
  %zy = mul i32 %z, %cy
  %row = add i32 %zy, %y
  %rows = mul i32 %row, %cx
  %linear = add i32 %rows, %x
  %at = mul i32 %linear, 3
  %p = at i32 %out, i32 %at
  store i32 %x, ptr %p, align 4
  %p1 = getelementptr i32, ptr %p, i64 1
  store i32 %y, ptr %p1, align 4
  %p2 = getelementptr i32, ptr %p, i64 2
  store i32 %z, ptr %p2, align 4
  ret i32 0
}

define i32 @count(ptr %d, ptr %w) nounwind {
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  %x = get Workgroup.id_x %w
  %p = at i32 %out, i32 %x
  %old = atomicrmw add ptr %p, i32 1 monotonic
  ret i32 0
}

define i32 @check_index(ptr %d, ptr %w) nounwind {
  %constants = get Dispatch.constants %d
  %limit = load i32, ptr %constants, align 4
  %x = get Workgroup.id_x %w
  %bad = icmp uge i32 %x, %limit
  %code = select i1 %bad, i32 65537, i32 0
  ret i32 %code
}

define i32 @use_scratch(ptr %d, ptr %w) nounwind {
entry:
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  %x = get Workgroup.id_x %w
  %scratch = get Workgroup.scratch %w
  %bytes64 = get Workgroup.scratch_bytes %w
  %bytes = trunc i64 %bytes64 to i32
  %n = lshr i32 %bytes, 2
  br label %write
write:
  %i = phi i32 [ 0, %entry ], [ %i.next, %write.body ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %write.body, label %read
write.body:
  %v = add i32 %x, %i
  %p = at i32 %scratch, i32 %i
  store volatile i32 %v, ptr %p, align 4
  %i.next = add i32 %i, 1
  br label %write
read:
  %j = phi i32 [ 0, %write ], [ %j.next, %read.body ]
  %sum = phi i32 [ 0, %write ], [ %sum.next, %read.body ]
  %more.j = icmp ult i32 %j, %n
  br i1 %more.j, label %read.body, label %done
read.body:
  %q = at i32 %scratch, i32 %j
  %u = load volatile i32, ptr %q, align 4
  %sum.next = add i32 %sum, %u
  %j.next = add i32 %j, 1
  br label %read
done:
  %o = at i32 %out, i32 %x
  store i32 %sum, ptr %o, align 4
  ret i32 0
}

define i32 @spin(ptr %d, ptr %w) nounwind {
entry:
  %constants = get Dispatch.constants %d
  %n = load i32, ptr %constants, align 4
  %cell = alloca i32, align 4
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  store volatile i32 %i, ptr %cell, align 4
  %next = add i32 %i, 1
  br label %head
done:
  ret i32 0
}

define i32 @sum_of_8(ptr %d, ptr %w) nounwind {
entry:
  %bindings = get Dispatch.bindings %d
  %x = get Workgroup.id_x %w
  br label %head
head:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %sum = phi i32 [ 0, %entry ], [ %sum.next, %body ]
  %slot = getelementptr ptr, ptr %bindings, i64 %i
  %base = load ptr, ptr %slot, align 8
  %p = at i32 %base, i32 %x
  %more = icmp ult i64 %i, 8
  br i1 %more, label %body, label %done
body:
  %v = load i32, ptr %p, align 4
  %sum.next = add i32 %sum, %v
  %next = add i64 %i, 1
  br label %head
done:
  store i32 %sum, ptr %p, align 4
  ret i32 0
}

define i32 @reverse(ptr %d, ptr %w) nounwind {
  %constants = get Dispatch.constants %d
  %n = load i32, ptr %constants, align 4
  %bindings = get Dispatch.bindings %d
  %in = load ptr, ptr %bindings, align 8
  %out.at = getelementptr ptr, ptr %bindings, i64 1
  %out = load ptr, ptr %out.at, align 8
  %x = get Workgroup.id_x %w
  %last = sub i32 %n, 1
  %from = sub i32 %last, %x
  %p = at i32 %in, i32 %from
  %v = load i32, ptr %p, align 4
  %v.1 = add i32 %v, 1
  %q = at i32 %out, i32 %x
  store i32 %v.1, ptr %q, align 4
  ret i32 0
}

define i32 @constants_N(ptr %d, ptr %w) nounwind {
entry:
  %n = get Dispatch.n_constants %d
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  br label %head
head:
  %i = phi i32 [ 0, %entry ], [ %next, %body ]
  %to = at i32 %out, i32 %i
  %more = icmp ult i32 %i, %n
  br i1 %more, label %body, label %done
body:
  %from = at i32 %constants, i32 %i
  %v = load i32, ptr %from, align 4
  store i32 %v, ptr %to, align 4
  %next = add i32 %i, 1
  br label %head
done:
  store i32 %n, ptr %to, align 4
  ret i32 0
}

; What follows needs this ABI's own facts and is not part of the portable set.

define i32 @store_lengths(ptr %d, ptr %w) nounwind {
  %bindings = get Dispatch.bindings %d
  %lengths = get Dispatch.lengths %d
  %out = load ptr, ptr %bindings, align 8
  %l0 = load i64, ptr %lengths, align 8
  %l1.at = getelementptr i64, ptr %lengths, i64 1
  %l1 = load i64, ptr %l1.at, align 8
  store i64 %l0, ptr %out, align 8
  %out1 = getelementptr i64, ptr %out, i64 1
  store i64 %l1, ptr %out1, align 8
  ret i32 0
}

define i32 @poke(ptr %d, ptr %w) nounwind {
  %constants = get Dispatch.constants %d
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  %offset = load i32, ptr %constants, align 4
  %offset64 = sext i32 %offset to i64
  %p = getelementptr i8, ptr %out, i64 %offset64
  store i8 7, ptr %p, align 1
  ret i32 0
}

define i32 @worker_ids(ptr %d, ptr %w) nounwind {
  %bindings = get Dispatch.bindings %d
  %out = load ptr, ptr %bindings, align 8
  %x = get Workgroup.id_x %w
  %worker = get Workgroup.worker_id %w
  %p = at i32 %out, i32 %x
  store i32 %worker, ptr %p, align 4
  ret i32 0
}
