module {
  func.func @f(%n: index, %c: i1, %x: f32) -> f32 {
    %v = scf.if %c -> (f32) {
      %m = arith.mulf %x, %x : f32
      scf.yield %m : f32
    } else {
      scf.yield %x : f32
    }
    %r = scf.for %i = %n to %n step %n iter_args(%acc = %x) -> (f32) {
      %w = scf.if %c -> (f32) {
        %m = arith.mulf %acc, %x : f32
        scf.yield %m : f32
      } else {
        scf.yield %v : f32
      }
      scf.yield %w : f32
    }
    return %r : f32
  }
}
