module {
  func.func private @effect(f32)
  func.func @f(%n: index, %x: f32) -> f32 {
    %invariant = arith.mulf %x, %x : f32
    %chain = arith.addf %invariant, %x : f32
    %r = scf.for %i = %n to %n step %n iter_args(%acc = %x) -> (f32) {
      %outer_only = arith.addi %i, %n : index
      %out = scf.for %j = %n to %n step %n iter_args(%inner = %acc) -> (f32) {
        %varies = arith.addi %j, %outer_only : index
        func.call @effect(%chain) : (f32) -> ()
        %next = arith.addf %inner, %chain : f32
        scf.yield %next : f32
      }
      scf.yield %out : f32
    }
    return %r : f32
  }
}
