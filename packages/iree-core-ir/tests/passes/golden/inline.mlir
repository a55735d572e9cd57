module {
  func.func @main(%x: f32) -> f32 {
    %0 = arith.addf %x, %x : f32
    %1 = call @declared(%0) : (f32) -> f32
    %2 = call @forever(%1) : (f32) -> f32
    return %2 : f32
  }
  func.func private @declared(f32) -> f32
  func.func private @forever(%x: f32) -> f32 {
    %0 = call @forever(%x) : (f32) -> f32
    return %0 : f32
  }
}
