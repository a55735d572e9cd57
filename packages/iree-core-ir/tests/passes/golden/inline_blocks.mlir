module {
  func.func @main(%c: i1, %x: f32) -> f32 {
    cf.cond_br %c, ^bb1, ^bb2(%x : f32)
  ^bb1:
    %0 = arith.addf %x, %x : f32
    cf.br ^bb2(%0 : f32)
  ^bb2(%v: f32):
    cf.br ^bb3(%v : f32)
  ^bb3(%1: f32):
    %2 = arith.addf %1, %1 : f32
    %3 = scf.if %c -> (f32) {
      %4 = func.call @pick(%c, %2) : (i1, f32) -> f32
      scf.yield %4 : f32
    } else {
      scf.yield %2 : f32
    }
    return %3 : f32
  }
  func.func private @pick(%c: i1, %x: f32) -> f32 {
    cf.cond_br %c, ^bb1, ^bb2(%x : f32)
  ^bb1:
    %0 = arith.addf %x, %x : f32
    cf.br ^bb2(%0 : f32)
  ^bb2(%v: f32):
    return %v : f32
  }
}
