; Tickets, sleeping and waking, the life of a worker.

; ---- waiting and waking

; Sleep while the word holds value, at most nanoseconds (0: no limit). May return early.
define internal void @os_wait(ptr %pool, ptr %word, i32 %value, i64 %nanoseconds) nounwind noinline {
entry:
  %time = alloca [2 x i64], align 8
  %seconds.at = getelementptr i8, ptr %time, i64 0
  %rest.at = getelementptr i8, ptr %time, i64 8
  store i64 0, ptr %seconds.at, align 8
  store i64 %nanoseconds, ptr %rest.at, align 8
  %limited = icmp ne i64 %nanoseconds, 0
  %convention = get Pool.wait_convention %pool
  %number = get Pool.wait_number %pool
  %number64 = zext i32 %number to i64
  %function = get Pool.wait %pool
  %value64 = zext i32 %value to i64
  %futex = icmp eq i32 %convention, 1
  br i1 %futex, label %linux, label %darwin
linux:
  ; FUTEX_WAIT | FUTEX_PRIVATE_FLAG
  %timeout = select i1 %limited, ptr %time, ptr null
  %r0 = call i64 %function(i64 %number64, ptr %word, i64 128, i64 %value64, ptr %timeout, i64 0, i64 0)
  ret void
darwin:
  ; UL_COMPARE_AND_WAIT
  %us = udiv i64 %nanoseconds, 1000
  %us32 = trunc i64 %us to i32
  %r1 = call i32 %function(i32 1, ptr %word, i64 %value64, i32 %us32)
  ret void
}

; Wake up to n threads that sleep on the word.
define internal void @os_wake(ptr %pool, ptr %word, i32 %n) nounwind noinline {
entry:
  %convention = get Pool.wait_convention %pool
  %number = get Pool.wait_number %pool
  %number64 = zext i32 %number to i64
  %function = get Pool.wake %pool
  %n64 = zext i32 %n to i64
  %futex = icmp eq i32 %convention, 1
  br i1 %futex, label %linux, label %darwin
linux:
  ; FUTEX_WAKE | FUTEX_PRIVATE_FLAG
  %r0 = call i64 %function(i64 %number64, ptr %word, i64 129, i64 %n64, ptr null, i64 0, i64 0)
  ret void
darwin:
  ; UL_COMPARE_AND_WAIT | ULF_WAKE_ALL
  %r1 = call i32 %function(i32 257, ptr %word, i64 0)
  ret void
}

; ---- tickets

; Take some tiles of the epoch for thread id: of its own range from the front on, then of others' from the back,
; so that a thread has neighbouring tiles, and in each wave much the same ones. {first:32 | count:32}; 0 when
; nothing is left or the epoch is another.
define internal i64 @take(ptr %pool, i32 %epoch, i32 %limit, i32 %id) nounwind noinline {
entry:
  %ranges = get Pool.ranges %pool
  %epoch64 = zext i32 %epoch to i64
  %tag = and i64 %epoch64, $EPOCH_MASK
  br label %look
look:
  %turn = phi i32 [ 0, %entry ], [ %turn, %lost ], [ %turn.next, %next ]
  %past.end = add i32 %id, %turn
  %wraps = icmp uge i32 %past.end, %limit
  %wrapped = sub i32 %past.end, %limit
  %whose = select i1 %wraps, i32 %wrapped, i32 %past.end
  %range = at Range %ranges, i32 %whose
  %v = load atomic i64, ptr %range acquire, align 8
  %v.first = lshr i64 %v, $RANGE_BITS
  %first64 = and i64 %v.first, $RANGE_MASK
  %v.tag = lshr i64 %v.first, $RANGE_BITS
  %end64 = and i64 %v, $RANGE_MASK
  %now = icmp eq i64 %v.tag, %tag
  br i1 %now, label %count, label %none
count:
  %left = sub i64 %end64, %first64
  %empty = icmp eq i64 %left, 0
  br i1 %empty, label %next, label %try
next:
  %turn.next = add i32 %turn, 1
  %all = icmp eq i32 %turn.next, %limit
  br i1 %all, label %none, label %look
try:
  %own = icmp eq i32 %turn, 0
  %share = lshr i64 %left, 1
  %small = icmp eq i64 %share, 0
  %at.least = select i1 %small, i64 1, i64 %share
  %large = icmp ugt i64 %at.least, $MOST_AT_ONCE
  %k = select i1 %large, i64 $MOST_AT_ONCE, i64 %at.least
  %k.first = shl i64 %k, $RANGE_BITS
  %front = add i64 %v, %k.first
  %back = sub i64 %v, %k
  %v.new = select i1 %own, i64 %front, i64 %back
  %swap = cmpxchg ptr %range, i64 %v, i64 %v.new seq_cst acquire
  %ok = extractvalue { i64, i1 } %swap, 1
  br i1 %ok, label %taken, label %lost
lost:
  br label %look
taken:
  %last = sub i64 %end64, %k
  %begin = select i1 %own, i64 %first64, i64 %last
  %high = shl i64 %begin, 32
  %r = or i64 %high, %k
  ret i64 %r
none:
  ret i64 0
}

; k tiles are done; wake the caller if they were the last and it sleeps.
define internal void @complete(ptr %pool, i32 %k) nounwind {
entry:
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %k seq_cst
  %last = icmp eq i32 %old, %k
  br i1 %last, label %look, label %done
look:
  %waiting.at = addr Pool.waiting %pool
  %waiting = load atomic i32, ptr %waiting.at seq_cst, align 4
  %sleeps = icmp ne i32 %waiting, 0
  br i1 %sleeps, label %wake, label %done
wake:
  call void @os_wake(ptr %pool, ptr %pending, i32 1)
  br label %done
done:
  ret void
}

; Return when the epoch is no longer the given one (or, rarely, earlier).
define internal void @wait_epoch(ptr %pool, i32 %epoch) nounwind noinline {
entry:
  %ticket = addr Pool.ticket %pool
  %word = getelementptr i8, ptr %ticket, i64 4
  %sleepers = addr Pool.sleepers %pool
  %lease.at = addr Pool.lease %pool
  %spins = get Pool.worker_spin %pool
  %leased.spins = get Pool.leased_spin %pool
  br label %spin
spin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %spin.on ]
  %j = phi i32 [ 0, %entry ], [ %j.next, %spin.on ]
  %v = load atomic i64, ptr %ticket acquire, align 8
  %high = lshr i64 %v, 32
  %e = trunc i64 %high to i32
  %changed = icmp ne i32 %e, %epoch
  br i1 %changed, label %done, label %spin.more
spin.more:
  ; While a frame goes on its next wave is near, and when it ends often the next frame.
  %lease = load atomic i32, ptr %lease.at monotonic, align 4
  %leased = icmp ne i32 %lease, 0
  %more.free = icmp ult i32 %i, %spins
  %more.leased = icmp ult i32 %j, %leased.spins
  %more = select i1 %leased, i1 %more.leased, i1 %more.free
  br i1 %more, label %spin.on, label %sleep
spin.on:
  call void @pause()
  %one.leased = zext i1 %leased to i32
  %one.free = sub i32 1, %one.leased
  %i.next = add i32 %i, %one.free
  %j.next = add i32 %j, %one.leased
  br label %spin
sleep:
  ; Either the publisher sees the sleeper, or this thread sees the new epoch: both are seq_cst.
  %s0 = atomicrmw add ptr %sleepers, i32 1 seq_cst
  %v2 = load atomic i64, ptr %ticket seq_cst, align 8
  %high2 = lshr i64 %v2, 32
  %e2 = trunc i64 %high2 to i32
  %changed2 = icmp ne i32 %e2, %epoch
  br i1 %changed2, label %woken, label %block
block:
  call void @os_wait(ptr %pool, ptr %word, i32 %epoch, i64 0)
  br label %woken
woken:
  %s1 = atomicrmw sub ptr %sleepers, i32 1 seq_cst
  br label %done
done:
  ret void
}

; The life of a worker thread: take tiles until shutdown.
define void @iree_worker(ptr %pool, i32 %id) nounwind {
entry:
  %fp = call i64 @enter_fp()
  %running = addr Pool.running %pool
  %r0 = atomicrmw add ptr %running, i32 1 seq_cst
  %ticket = addr Pool.ticket %pool
  %shutdown.at = addr Pool.shutdown %pool
  br label %loop
loop:
  %v = load atomic i64, ptr %ticket acquire, align 8
  %down = load atomic i32, ptr %shutdown.at acquire, align 4
  %leave = icmp ne i32 %down, 0
  br i1 %leave, label %out, label %look
look:
  %high = lshr i64 %v, 32
  %epoch = trunc i64 %high to i32
  %limit = trunc i64 %v to i32
  %may = icmp ult i32 %id, %limit
  br i1 %may, label %try, label %idle
idle:
  call void @wait_epoch(ptr %pool, i32 %epoch)
  br label %loop
try:
  %tiles = call i64 @take(ptr %pool, i32 %epoch, i32 %limit, i32 %id)
  %k = trunc i64 %tiles to i32
  %none = icmp eq i32 %k, 0
  br i1 %none, label %idle, label %run
run:
  ; Holding tiles: the frame cannot go away or change before complete().
  %f = get Pool.frame %pool
  %first64 = lshr i64 %tiles, 32
  %first = trunc i64 %first64 to i32
  call void @run_tiles(ptr %f, i32 %first, i32 %k, i32 %id)
  call void @complete(ptr %pool, i32 %k)
  br label %try
out:
  %r1 = atomicrmw sub ptr %running, i32 1 seq_cst
  call void @leave_fp(i64 %fp)
  ret void
}

; Deal the tiles that remain to the threads that may work on the frame, each a range of neighbours.
define internal void @deal(ptr %pool, ptr %f, i32 %epoch, i32 %limit) nounwind {
entry:
  %ranges = get Pool.ranges %pool
  %epoch64 = zext i32 %epoch to i64
  %tag = shl i64 %epoch64, $EPOCH_SHIFT
  %scattered = get Frame.scattered %f
  %kept = get Frame.ranges %f
  %total = get Frame.total %f
  %remaining = get Frame.remaining %f
  %start = sub i32 %total, %remaining
  %start64 = zext i32 %start to i64
  %remaining64 = zext i32 %remaining to i64
  %limit64 = zext i32 %limit to i64
  %again = icmp ne i32 %scattered, 0
  br label %head
head:
  %t = phi i32 [ 0, %entry ], [ %t.next, %store ]
  %first = phi i64 [ %start64, %entry ], [ %end, %store ]
  %more = icmp ult i32 %t, %limit
  br i1 %more, label %body, label %done
body:
  %t.next = add i32 %t, 1
  br i1 %again, label %old, label %new
old:
  %old.at = at i64 %kept, i32 %t
  %old.range = load i64, ptr %old.at, align 8
  %old.first = lshr i64 %old.range, 32
  %old.end = and i64 %old.range, 4294967295
  br label %store
new:
  %t64 = zext i32 %t.next to i64
  %scaled = mul i64 %remaining64, %t64
  %part = udiv i64 %scaled, %limit64
  %new.end = add i64 %start64, %part
  br label %store
store:
  %begin = phi i64 [ %old.first, %old ], [ %first, %new ]
  %end = phi i64 [ %old.end, %old ], [ %new.end, %new ]
  %high = shl i64 %begin, $RANGE_BITS
  %both = or i64 %high, %end
  %word = or i64 %both, %tag
  %range = at Range %ranges, i32 %t
  store atomic i64 %word, ptr %range release, align 8
  br label %head
done:
  ret void
}

; Open a new epoch with the tiles that remain; the caller holds the lease and no tile is out. Its ticket.
; Wakes as many workers as pay for themselves: one per 4 thresholds of work (ticks), since waking one costs
; the caller a system call. Workers that are still spinning come by themselves.
define internal i64 @publish(ptr %pool, ptr %f, i64 %work) nounwind {
entry:
  %ticket = addr Pool.ticket %pool
  %pending.at = addr Pool.pending %pool
  %threads = get Frame.threads %f
  %remaining = get Frame.remaining %f
  %scattered = get Frame.scattered %f
  ; As many ranges as there are tiles; those kept lie where they lay.
  %again = icmp ne i32 %scattered, 0
  %few = icmp ult i32 %remaining, %threads
  %fewer.threads = select i1 %few, i32 %remaining, i32 %threads
  %limit = select i1 %again, i32 %threads, i32 %fewer.threads
  put ptr %f, Pool.frame %pool
  store atomic i32 %remaining, ptr %pending.at release, align 4
  %old = load atomic i64, ptr %ticket monotonic, align 8
  %old.epoch = lshr i64 %old, 32
  %new.epoch = add i64 %old.epoch, 1
  %epoch = trunc i64 %new.epoch to i32
  call void @deal(ptr %pool, ptr %f, i32 %epoch, i32 %limit)
  %high = shl i64 %new.epoch, 32
  %low = zext i32 %limit to i64
  %v = or i64 %high, %low
  store atomic i64 %v, ptr %ticket seq_cst, align 8
  %sleepers.at = addr Pool.sleepers %pool
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %any = icmp ne i32 %sleepers, 0
  br i1 %any, label %wake, label %done
wake:
  ; A worker beyond the limit might be the one that wakes, so a capped frame wakes all.
  %n = get Pool.n_workers %pool
  %all = icmp ugt i32 %limit, %n
  %others = sub i32 %remaining, 1
  %others64 = zext i32 %others to i64
  %threshold = get Frame.threshold %f
  %price = shl i64 %threshold, 2
  %worth = udiv i64 %work, %price
  %fewer = icmp ult i64 %worth, %others64
  %useful = select i1 %fewer, i64 %worth, i64 %others64
  %useful32 = trunc i64 %useful to i32
  %count = select i1 %all, i32 %useful32, i32 2147483647
  %signed = and i32 %count, 2147483647
  %pays = icmp ne i64 %worth, 0
  br i1 %pays, label %call, label %done
call:
  %word = getelementptr i8, ptr %ticket, i64 4
  call void @os_wake(ptr %pool, ptr %word, i32 %signed)
  br label %done
done:
  ret i64 %v
}

; Close the epoch: the tiles nobody took go back to the frame.
define internal void @close(ptr %pool, ptr %f, i64 %v) nounwind {
entry:
  %ranges = get Pool.ranges %pool
  %kept = get Frame.ranges %f
  %threads = get Frame.threads %f
  %limit = trunc i64 %v to i32
  %epoch = lshr i64 %v, 32
  %tag = shl i64 %epoch, $EPOCH_SHIFT
  br label %head
head:
  %t = phi i32 [ 0, %entry ], [ %t.next, %store ]
  %sum = phi i32 [ 0, %entry ], [ %sum.next, %store ]
  %more = icmp ult i32 %t, %threads
  br i1 %more, label %body, label %done
body:
  %dealt = icmp ult i32 %t, %limit
  br i1 %dealt, label %empty, label %store
empty:
  %range = at Range %ranges, i32 %t
  %old = atomicrmw xchg ptr %range, i64 %tag seq_cst
  %old.first = lshr i64 %old, $RANGE_BITS
  %first = and i64 %old.first, $RANGE_MASK
  %end = and i64 %old, $RANGE_MASK
  %high = shl i64 %first, 32
  %both = or i64 %high, %end
  %left64 = sub i64 %end, %first
  %left = trunc i64 %left64 to i32
  br label %store
store:
  %value = phi i64 [ 0, %body ], [ %both, %empty ]
  %tiles = phi i32 [ 0, %body ], [ %left, %empty ]
  %kept.word = at i64 %kept, i32 %t
  store i64 %value, ptr %kept.word, align 8
  %sum.next = add i32 %sum, %tiles
  %t.next = add i32 %t, 1
  br label %head
done:
  put i32 %sum, Frame.remaining %f
  put i32 1, Frame.scattered %f
  %pending = addr Pool.pending %pool
  %old.pending = atomicrmw sub ptr %pending, i32 %sum seq_cst
  ret void
}
