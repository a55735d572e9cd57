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

; Take some tiles of the open ticket {epoch, remaining} = v, as {taken, index from the end}; 0 taken if it changed.
define internal i32 @take(ptr %pool, i64 %v) alwaysinline nounwind {
  %ticket = addr Pool.ticket %pool
  %shift = get Pool.chunk_shift %pool
  %shift.safe = and i32 %shift, 31
  %rem = trunc i64 %v to i32
  %share = lshr i32 %rem, %shift.safe
  %small = icmp eq i32 %share, 0
  %at.least = select i1 %small, i32 1, i32 %share
  %large = icmp ugt i32 %at.least, 64
  %k = select i1 %large, i32 64, i32 %at.least
  %k64 = zext i32 %k to i64
  %v1 = sub i64 %v, %k64
  %swap = cmpxchg ptr %ticket, i64 %v, i64 %v1 seq_cst acquire
  %ok = extractvalue { i64, i1 } %swap, 1
  %taken = select i1 %ok, i32 %k, i32 0
  ret i32 %taken
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
  %spins = get Pool.worker_spin %pool
  br label %spin
spin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %spin.on ]
  %v = load atomic i64, ptr %ticket acquire, align 8
  %high = lshr i64 %v, 32
  %e = trunc i64 %high to i32
  %changed = icmp ne i32 %e, %epoch
  br i1 %changed, label %done, label %spin.more
spin.more:
  %more = icmp ult i32 %i, %spins
  br i1 %more, label %spin.on, label %sleep
spin.on:
  call void @pause()
  %i.next = add i32 %i, 1
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
  %limit.at = addr Pool.limit %pool
  %shutdown.at = addr Pool.shutdown %pool
  br label %loop
loop:
  %v = load atomic i64, ptr %ticket acquire, align 8
  %down = load atomic i32, ptr %shutdown.at acquire, align 4
  %leave = icmp ne i32 %down, 0
  br i1 %leave, label %out, label %look
look:
  %rem = trunc i64 %v to i32
  %closed = icmp eq i32 %rem, 0
  br i1 %closed, label %idle, label %allowed
allowed:
  ; A limit of a later epoch than v's does no harm: taking then fails.
  %limit = load atomic i32, ptr %limit.at acquire, align 4
  %may = icmp ult i32 %id, %limit
  br i1 %may, label %try, label %idle
idle:
  %high = lshr i64 %v, 32
  %epoch = trunc i64 %high to i32
  call void @wait_epoch(ptr %pool, i32 %epoch)
  br label %loop
try:
  %k = call i32 @take(ptr %pool, i64 %v)
  %none = icmp eq i32 %k, 0
  br i1 %none, label %loop, label %run
run:
  ; Holding tiles: the frame cannot go away or change before complete().
  %f = get Pool.frame %pool
  %total = get Frame.total %f
  %first = sub i32 %total, %rem
  call void @run_tiles(ptr %f, i32 %first, i32 %k, i32 %id)
  call void @complete(ptr %pool, i32 %k)
  br label %loop
out:
  %r1 = atomicrmw sub ptr %running, i32 1 seq_cst
  call void @leave_fp(i64 %fp)
  ret void
}

; Open a new epoch with Frame.remaining tiles; the caller holds the lease and no tile is out.
; Wakes as many workers as pay for themselves: one per 4 thresholds of work (ticks), since waking one costs
; the caller a system call. Workers that are still spinning come by themselves.
define internal void @publish(ptr %pool, ptr %f, i64 %work) nounwind {
entry:
  %ticket = addr Pool.ticket %pool
  %limit.at = addr Pool.limit %pool
  %pending.at = addr Pool.pending %pool
  %threads = get Frame.threads %f
  %shift = get Frame.chunk_shift %f
  %remaining = get Frame.remaining %f
  put ptr %f, Pool.frame %pool
  put i32 %shift, Pool.chunk_shift %pool
  store atomic i32 %threads, ptr %limit.at release, align 4
  store atomic i32 %remaining, ptr %pending.at release, align 4
  %old = load atomic i64, ptr %ticket monotonic, align 8
  %epoch = lshr i64 %old, 32
  %epoch1 = add i64 %epoch, 1
  %high = shl i64 %epoch1, 32
  %low = zext i32 %remaining to i64
  %v = or i64 %high, %low
  store atomic i64 %v, ptr %ticket seq_cst, align 8
  %sleepers.at = addr Pool.sleepers %pool
  %sleepers = load atomic i32, ptr %sleepers.at seq_cst, align 4
  %any = icmp ne i32 %sleepers, 0
  br i1 %any, label %wake, label %done
wake:
  ; A worker beyond the limit might be the one that wakes, so a capped frame wakes all.
  %n = get Pool.n_workers %pool
  %all = icmp ugt i32 %threads, %n
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
  ret void
}

; Close the open ticket: the tiles nobody took go back to Frame.remaining.
define internal void @close(ptr %pool, ptr %f) nounwind {
entry:
  %ticket = addr Pool.ticket %pool
  br label %loop
loop:
  %v = load atomic i64, ptr %ticket acquire, align 8
  %rem = trunc i64 %v to i32
  %closed = and i64 %v, -4294967296
  %swap = cmpxchg ptr %ticket, i64 %v, i64 %closed seq_cst acquire
  %ok = extractvalue { i64, i1 } %swap, 1
  br i1 %ok, label %done, label %loop
done:
  put i32 %rem, Frame.remaining %f
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %rem seq_cst
  ret void
}
