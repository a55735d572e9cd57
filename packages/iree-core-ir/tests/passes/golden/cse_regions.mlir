module {
  func.func @f(%c: i1, %x: f32) -> (f32, f32) {
    %a = arith.addf %x, %x : f32
    %r = scf.if %c -> (f32) {
      %m = arith.mulf %a, %a : f32
      scf.yield %m : f32
    } else {
      %m = arith.mulf %a, %a : f32
      scf.yield %m : f32
    }
    %m = arith.mulf %a, %a : f32
    return %r, %m : f32, f32
  }
}
