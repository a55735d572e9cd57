module {
  func.func @f(%c: i1, %x: f32) -> f32 {
    %a = arith.addf %x, %x : f32
    cf.cond_br %c, ^bb1, ^bb2
  ^bb1:
    %l = arith.mulf %a, %a : f32
    cf.br ^bb3(%l : f32)
  ^bb2:
    %r = arith.mulf %a, %a : f32
    cf.br ^bb3(%r : f32)
  ^bb3(%v: f32):
    return %v : f32
  }
}
