module {
  func.func @main(%x: f32) -> f32 {
    %0 = arith.addf %x, %x : f32
    %1 = call @large(%0) : (f32) -> f32
    return %1 : f32
  }
  func.func private @small(%x: f32) -> f32 {
    %0 = arith.addf %x, %x : f32
    return %0 : f32
  }
  func.func private @large(%x: f32) -> f32 {
    %0 = arith.addf %x, %x : f32
    %1 = arith.addf %0, %x : f32
    return %1 : f32
  }
}
