module {
  func.func @f() -> (index, f32, i1, i8) {
    %ab = arith.constant 42 : index
    %y = arith.constant 2.000000e-01 : f32
    %c = arith.constant true
    %wrap = arith.constant -56 : i8
    return %ab, %y, %c, %wrap : index, f32, i1, i8
  }
}
