; What differs on AArch64: yield, the tick counter and the floating-point control register.
declare void @llvm.aarch64.hint(i32)
declare i64 @llvm.readsteadycounter()
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)

define internal void @pause() alwaysinline nounwind {
  call void @llvm.aarch64.hint(i32 1)
  ret void
}

define internal i64 @ticks() alwaysinline nounwind {
  %t = call i64 @llvm.readsteadycounter()
  ret i64 %t
}

; No traps, round to nearest, FZ (bit 24) set.
define internal i64 @enter_fp() nounwind {
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 16777216)
  ret i64 %old
}

define internal void @leave_fp(i64 %state) nounwind {
  call void @llvm.aarch64.set.fpcr(i64 %state)
  ret void
}
