module {
  func.func @f(%x: f32, %y: f32) -> (f32, f32, f32, i32) {
    %a = arith.addf %x, %y : f32
    %c = arith.addf %y, %x : f32
    %d = arith.mulf %a, %a : f32
    %i = arith.constant 1 : i32
    %j = arith.constant 1 : i64
    return %d, %d, %c, %i : f32, f32, f32, i32
  }
}
