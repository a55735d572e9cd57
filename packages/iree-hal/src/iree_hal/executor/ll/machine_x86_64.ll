; What differs on x86-64: pause, the tick counter and the floating-point control register.
declare void @llvm.x86.sse2.pause()
declare i64 @llvm.readcyclecounter()
declare void @llvm.x86.sse.ldmxcsr(ptr)
declare void @llvm.x86.sse.stmxcsr(ptr)

define internal void @pause() alwaysinline nounwind {
  call void @llvm.x86.sse2.pause()
  ret void
}

define internal i64 @ticks() alwaysinline nounwind {
  %t = call i64 @llvm.readcyclecounter()
  ret i64 %t
}

; All exceptions masked, round to nearest, denormals flushed on the way in and out: 0x9FC0.
define internal i64 @enter_fp() nounwind {
  %old = alloca i32, align 4
  %new = alloca i32, align 4
  call void @llvm.x86.sse.stmxcsr(ptr %old)
  store i32 40896, ptr %new, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %new)
  %v = load i32, ptr %old, align 4
  %w = zext i32 %v to i64
  ret i64 %w
}

define internal void @leave_fp(i64 %state) nounwind {
  %old = alloca i32, align 4
  %v = trunc i64 %state to i32
  store i32 %v, ptr %old, align 4
  call void @llvm.x86.sse.ldmxcsr(ptr %old)
  ret void
}
