// The portable kernels as kernel IR: one workgroup a call. Arguments are the bindings, the 32-bit constants,
// the workgroup's ids in x, y and z, and its scratch memory. kernels.py says in words what each does.

func.func @add(%a: memref<?xf32>, %b: memref<?xf32>, %c: memref<?xf32>, %n: i32,
               %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 3 : i64} {
  %one = arith.constant 1 : index
  %size = arith.constant 64 : index
  %start = arith.muli %x, %size : index
  %over = arith.addi %start, %size : index
  %total = arith.index_castui %n : i32 to index
  %end = arith.minui %over, %total : index
  scf.for %i = %start to %end step %one {
    %p = memref.load %a[%i] : memref<?xf32>
    %q = memref.load %b[%i] : memref<?xf32>
    %sum = arith.addf %p, %q : f32
    memref.store %sum, %c[%i] : memref<?xf32>
  }
  return
}

func.func @scale(%a: memref<?xf32>, %b: memref<?xf32>, %factor: i32,
                 %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 2 : i64} {
  %f = arith.bitcast %factor : i32 to f32
  %p = memref.load %a[%x] : memref<?xf32>
  %q = arith.mulf %p, %f : f32
  memref.store %q, %b[%x] : memref<?xf32>
  return
}

func.func @store_constants(%out: memref<?xi32>, %c0: i32, %c1: i32,
                           %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 1 : i64} {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  memref.store %c0, %out[%zero] : memref<?xi32>
  memref.store %c1, %out[%one] : memref<?xi32>
  return
}

func.func @store_ids(%out: memref<?xi32>, %cx: i32, %cy: i32,
                     %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 1 : i64} {
  %one = arith.constant 1 : index
  %two = arith.constant 2 : index
  %three = arith.constant 3 : index
  %columns = arith.index_castui %cx : i32 to index
  %rows = arith.index_castui %cy : i32 to index
  %plane = arith.muli %z, %rows : index
  %row = arith.addi %plane, %y : index
  %before = arith.muli %row, %columns : index
  %linear = arith.addi %before, %x : index
  %at0 = arith.muli %linear, %three : index
  %at1 = arith.addi %at0, %one : index
  %at2 = arith.addi %at0, %two : index
  %idx = arith.index_castui %x : index to i32
  %idy = arith.index_castui %y : index to i32
  %idz = arith.index_castui %z : index to i32
  memref.store %idx, %out[%at0] : memref<?xi32>
  memref.store %idy, %out[%at1] : memref<?xi32>
  memref.store %idz, %out[%at2] : memref<?xi32>
  return
}

func.func @count(%out: memref<?xi32>, %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 1 : i64} {
  %one = arith.constant 1 : i32
  %p = memref.load %out[%x] : memref<?xi32>
  %q = arith.addi %p, %one : i32
  memref.store %q, %out[%x] : memref<?xi32>
  return
}

func.func @check_index(%limit: i32, %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 0 : i64} {
  %zero = arith.constant 0 : i32
  %id = arith.index_castui %x : index to i32
  %always = arith.cmpi uge, %id, %zero : i32
  cf.assert %always, "an id is not negative"
  %inside = arith.cmpi ult, %id, %limit : i32
  cf.assert %inside, "index out of range" {iree.error_kind = 1 : i32}
  return
}

func.func @use_scratch(%out: memref<?xi32>, %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 1 : i64} {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %words = arith.constant 64 : index
  %nothing = arith.constant 0 : i32
  %memory = memref.view %scratch[%zero][%words] : memref<?xi8> to memref<?xi32>
  scf.for %i = %zero to %words step %one {
    %v = arith.addi %x, %i : index
    %w = arith.index_castui %v : index to i32
    memref.store %w, %memory[%i] : memref<?xi32>
  }
  %sum = scf.for %j = %zero to %words step %one iter_args(%s = %nothing) -> (i32) {
    %u = memref.load %memory[%j] : memref<?xi32>
    %t = arith.addi %s, %u : i32
    scf.yield %t : i32
  }
  memref.store %sum, %out[%x] : memref<?xi32>
  return
}

func.func @spin(%times: i32, %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 0 : i64} {
  %zero = arith.constant 0 : index
  %one = arith.constant 1 : index
  %n = arith.index_castui %times : i32 to index
  scf.for %i = %zero to %n step %one {
  }
  return
}

func.func @sum_of_8(%a: memref<?xi32>, %b: memref<?xi32>, %c: memref<?xi32>, %d: memref<?xi32>,
                    %e: memref<?xi32>, %f: memref<?xi32>, %g: memref<?xi32>, %h: memref<?xi32>,
                    %out: memref<?xi32>, %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 9 : i64} {
  %va = memref.load %a[%x] : memref<?xi32>
  %vb = memref.load %b[%x] : memref<?xi32>
  %vc = memref.load %c[%x] : memref<?xi32>
  %vd = memref.load %d[%x] : memref<?xi32>
  %ve = memref.load %e[%x] : memref<?xi32>
  %vf = memref.load %f[%x] : memref<?xi32>
  %vg = memref.load %g[%x] : memref<?xi32>
  %vh = memref.load %h[%x] : memref<?xi32>
  %s1 = arith.addi %va, %vb : i32
  %s2 = arith.addi %vc, %vd : i32
  %s3 = arith.addi %ve, %vf : i32
  %s4 = arith.addi %vg, %vh : i32
  %s5 = arith.addi %s1, %s2 : i32
  %s6 = arith.addi %s3, %s4 : i32
  %s7 = arith.addi %s5, %s6 : i32
  memref.store %s7, %out[%x] : memref<?xi32>
  return
}

func.func @reverse(%in: memref<?xi32>, %out: memref<?xi32>, %n: i32,
                   %x: index, %y: index, %z: index, %scratch: memref<?xi8>)
    attributes {iree.kernel, iree.bindings = 2 : i64} {
  %one = arith.constant 1 : index
  %more = arith.constant 1 : i32
  %total = arith.index_castui %n : i32 to index
  %last = arith.subi %total, %one : index
  %from = arith.subi %last, %x : index
  %v = memref.load %in[%from] : memref<?xi32>
  %w = arith.addi %v, %more : i32
  memref.store %w, %out[%x] : memref<?xi32>
  return
}
