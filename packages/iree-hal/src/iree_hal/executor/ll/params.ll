; The parameter program, the version of the layout, the clock.

declare void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)

; The number that iree_hal.executor.native compares with its own table.
define i32 @iree_layout_version() nounwind {
  ret i32 $LAYOUT_VERSION
}

define i64 @iree_ticks() nounwind {
  %t = call i64 @ticks()
  ret i64 %t
}


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
