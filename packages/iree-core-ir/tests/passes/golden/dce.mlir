module {
  func.func private @effect() -> f32
  func.func @f(%c: i1, %x: f32) -> f32 {
    %kept = call @effect() : () -> f32
    scf.if %c {
      %e = func.call @effect() : () -> f32
    }
    return %x : f32
  }
}
