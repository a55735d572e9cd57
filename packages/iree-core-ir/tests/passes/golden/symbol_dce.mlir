module {
  func.func @main() {
    call @used() : () -> ()
    "t.op"() {deep = [{x = @in_attribute}]} : () -> ()
    return
  }
  func.func private @used() {
    call @used_by_used() : () -> ()
    return
  }
  func.func private @used_by_used()
  func.func private @in_attribute()
  module @nested {
    func.func @public() {
      return
    }
  }
  module @entered {
    func.func private @named_from_outside()
  }
  "t.op"() {r = @entered::@named_from_outside} : () -> ()
}
