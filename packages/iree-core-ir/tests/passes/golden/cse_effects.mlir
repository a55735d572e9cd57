module {
  func.func private @g() -> f32
  func.func @f() -> (f32, f32) {
    %a = call @g() : () -> f32
    %b = call @g() : () -> f32
    return %a, %b : f32, f32
  }
  func.func @h() -> i32 {
    %k = arith.constant 1 : i32
    return %k : i32
  }
  func.func @i() -> i32 {
    %k = arith.constant 1 : i32
    return %k : i32
  }
}
