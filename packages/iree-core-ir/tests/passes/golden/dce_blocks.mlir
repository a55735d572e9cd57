module {
  func.func @f(%x: f32) -> f32 {
    cf.br ^bb1
  ^bb1:
    return %x : f32
  }
}
