; Waves alone or together, and the frame that runs one after the other.

; ---- waves

; 1 when the frame should yield: told to stop, or past its deadline.
define internal i1 @expired(ptr %f) nounwind {
entry:
  %stop.at = addr Frame.stop %f
  %stop = load atomic i32, ptr %stop.at monotonic, align 4
  %told = icmp ne i32 %stop, 0
  br i1 %told, label %yes, label %clock
clock:
  %deadline = get Frame.deadline %f
  %now = call i64 @ticks()
  %past = icmp uge i64 %now, %deadline
  %last = get Frame.last_check %f
  put i64 %now, Frame.last_check %f
  ; Look at the clock about every 8 thresholds, and never rarer than every 32 tiles.
  %since = sub i64 %now, %last
  %threshold = get Frame.threshold %f
  %short.limit = shl i64 %threshold, 3
  %short = icmp ult i64 %since, %short.limit
  %stride = get Frame.stride %f
  %double = shl i32 %stride, 1
  %capped.0 = icmp ugt i32 %double, 32
  %capped = select i1 %capped.0, i32 32, i32 %double
  %new = select i1 %short, i32 %capped, i32 1
  put i32 %new, Frame.stride %f
  put i32 %new, Frame.until_check %f
  ret i1 %past
yes:
  ret i1 true
}

; Remember ticks / tiles as the wave's cost, smoothed.
define internal void @note_cost(ptr %wave, i64 %ticks, i32 %tiles) nounwind {
entry:
  %none = icmp eq i32 %tiles, 0
  br i1 %none, label %done, label %note
note:
  %n = zext i32 %tiles to i64
  %each = udiv i64 %ticks, %n
  %some = add i64 %each, 1
  %big = icmp ugt i64 %some, 1000000000
  %cost = select i1 %big, i64 1000000000, i64 %some
  %at = addr Wave.cost %wave
  %old = load atomic i32, ptr %at monotonic, align 4
  %old64 = zext i32 %old to i64
  %new = icmp eq i32 %old, 0
  %thrice = mul i64 %old64, 3
  %sum = add i64 %thrice, %cost
  %quarter = lshr i64 %sum, 2
  %value = select i1 %new, i64 %cost, i64 %quarter
  %value32 = trunc i64 %value to i32
  store atomic i32 %value32, ptr %at monotonic, align 4
  br label %done
done:
  ret void
}

; Run the open wave on this thread alone. DONE or YIELD.
define internal i32 @execute_alone(ptr %f, ptr %wave, i1 %measure) nounwind {
entry:
  %total = get Frame.total %f
  %before = get Frame.remaining %f
  br i1 %measure, label %clock, label %begin
clock:
  %t0.clock = call i64 @ticks()
  br label %begin
begin:
  %t0 = phi i64 [ 0, %entry ], [ %t0.clock, %clock ]
  br label %head
head:
  %left = get Frame.remaining %f
  %more = icmp ne i32 %left, 0
  br i1 %more, label %some, label %done
some:
  %until = get Frame.until_check %f
  %due = icmp eq i32 %until, 0
  br i1 %due, label %look, label %run
look:
  %late = call i1 @expired(ptr %f)
  br i1 %late, label %yield, label %head
run:
  %fits = icmp ult i32 %left, %until
  %n = select i1 %fits, i32 %left, i32 %until
  %first = sub i32 %total, %left
  call void @run_tiles(ptr %f, i32 %first, i32 %n, i32 0)
  %rest = sub i32 %left, %n
  put i32 %rest, Frame.remaining %f
  %until.1 = sub i32 %until, %n
  put i32 %until.1, Frame.until_check %f
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %yield, label %head
done:
  br i1 %measure, label %note, label %out
note:
  %t1 = call i64 @ticks()
  %ticks = sub i64 %t1, %t0
  call void @note_cost(ptr %wave, i64 %ticks, i32 %before)
  br label %out
out:
  ret i32 $DONE
yield:
  ret i32 $YIELD
}

; Wait until no tile is out. DONE when Frame.remaining is 0 too, YIELD when not, WAIT when the deadline passed.
define internal i32 @await(ptr %pool, ptr %f) nounwind {
entry:
  %pending = addr Pool.pending %pool
  %waiting = addr Pool.waiting %pool
  %spins = get Pool.caller_spin %pool
  br label %spin
spin:
  %i = phi i32 [ 0, %entry ], [ %i.next, %spin.on ]
  %p = load atomic i32, ptr %pending acquire, align 4
  %none = icmp eq i32 %p, 0
  br i1 %none, label %finished, label %spin.more
spin.more:
  %again = icmp ult i32 %i, %spins
  br i1 %again, label %spin.on, label %sleep.entry
spin.on:
  call void @pause()
  %i.next = add i32 %i, 1
  br label %spin
sleep.entry:
  store atomic i32 1, ptr %waiting seq_cst, align 4
  br label %sleep
sleep:
  %q = load atomic i32, ptr %pending seq_cst, align 4
  %empty = icmp eq i32 %q, 0
  br i1 %empty, label %awake, label %block
block:
  ; 5 ms at a time, to look at the deadline.
  call void @os_wait(ptr %pool, ptr %pending, i32 %q, i64 5000000)
  %q2 = load atomic i32, ptr %pending seq_cst, align 4
  %empty2 = icmp eq i32 %q2, 0
  br i1 %empty2, label %awake, label %clock
clock:
  %deadline = get Frame.deadline %f
  %now = call i64 @ticks()
  %late = icmp uge i64 %now, %deadline
  br i1 %late, label %give.up, label %sleep
give.up:
  store atomic i32 0, ptr %waiting seq_cst, align 4
  put i32 $STRAGGLING, Frame.state %f
  ret i32 $WAIT
awake:
  store atomic i32 0, ptr %waiting seq_cst, align 4
  br label %finished
finished:
  put i32 $OPEN, Frame.state %f
  %left = get Frame.remaining %f
  %complete = icmp eq i32 %left, 0
  %r = select i1 %complete, i32 $DONE, i32 $YIELD
  ret i32 %r
}

; Run the open wave together with the workers. DONE, YIELD or WAIT.
define internal i32 @execute_together(ptr %pool, ptr %f, ptr %wave, i64 %work) nounwind {
entry:
  %v = call i64 @publish(ptr %pool, ptr %f, i64 %work)
  put i32 0, Frame.remaining %f
  %limit = trunc i64 %v to i32
  %high = lshr i64 %v, 32
  %epoch = trunc i64 %high to i32
  br label %loop
loop:
  ; The cost of a tile is what the caller's own tiles take, without taking tickets and waiting.
  %mine = phi i32 [ 0, %entry ], [ %mine.1, %count ]
  %busy = phi i64 [ 0, %entry ], [ %busy.1, %count ]
  %taken = call i64 @take(ptr %pool, i32 %epoch, i32 %limit, i32 0)
  %k = trunc i64 %taken to i32
  %none = icmp eq i32 %k, 0
  br i1 %none, label %out, label %run
run:
  %first64 = lshr i64 %taken, 32
  %first = trunc i64 %first64 to i32
  %t0 = call i64 @ticks()
  call void @run_tiles(ptr %f, i32 %first, i32 %k, i32 0)
  %t1 = call i64 @ticks()
  %spent = sub i64 %t1, %t0
  %busy.1 = add i64 %busy, %spent
  %pending = addr Pool.pending %pool
  %old = atomicrmw sub ptr %pending, i32 %k seq_cst
  %mine.1 = add i32 %mine, %k
  %until = get Frame.until_check %f
  %due = icmp ule i32 %until, %k
  br i1 %due, label %look, label %later
later:
  %until.1 = sub i32 %until, %k
  put i32 %until.1, Frame.until_check %f
  br label %count
look:
  %late = call i1 @expired(ptr %f)
  br i1 %late, label %stop, label %count
count:
  br label %loop
stop:
  call void @close(ptr %pool, ptr %f, i64 %v)
  br label %out
out:
  %tiles = phi i32 [ %mine, %loop ], [ %mine.1, %stop ]
  %ticks = phi i64 [ %busy, %loop ], [ %busy.1, %stop ]
  call void @note_cost(ptr %wave, i64 %ticks, i32 %tiles)
  %r = call i32 @await(ptr %pool, ptr %f)
  ret i32 %r
}

; Run what is left of a wave that was stopped while others worked on it. DONE or YIELD.
define internal i32 @execute_scattered(ptr %f) nounwind noinline cold {
entry:
  %ranges = get Frame.ranges %f
  %threads = get Frame.threads %f
  br label %head
head:
  %t = phi i32 [ 0, %entry ], [ %t, %look ], [ %t, %run ], [ %t.next, %next ]
  %more = icmp ult i32 %t, %threads
  br i1 %more, label %some, label %done
some:
  %at = at i64 %ranges, i32 %t
  %range = load i64, ptr %at, align 8
  %first64 = lshr i64 %range, 32
  %first = trunc i64 %first64 to i32
  %end = trunc i64 %range to i32
  %left = sub i32 %end, %first
  %empty = icmp eq i32 %left, 0
  br i1 %empty, label %next, label %check
next:
  %t.next = add i32 %t, 1
  br label %head
check:
  %until = get Frame.until_check %f
  %due = icmp eq i32 %until, 0
  br i1 %due, label %look, label %take
look:
  %late = call i1 @expired(ptr %f)
  br i1 %late, label %yield, label %head
take:
  %fits = icmp ult i32 %left, %until
  %n = select i1 %fits, i32 %left, i32 %until
  call void @run_tiles(ptr %f, i32 %first, i32 %n, i32 0)
  %n64 = zext i32 %n to i64
  %n.high = shl i64 %n64, 32
  %rest = add i64 %range, %n.high
  store i64 %rest, ptr %at, align 8
  %remaining = get Frame.remaining %f
  %remaining.1 = sub i32 %remaining, %n
  put i32 %remaining.1, Frame.remaining %f
  %until.1 = sub i32 %until, %n
  put i32 %until.1, Frame.until_check %f
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %yield, label %run
run:
  br label %head
done:
  ret i32 $DONE
yield:
  ret i32 $YIELD
}

; Run the open wave in the way that suits it. DONE, YIELD or WAIT.
define internal i32 @execute(ptr %f, ptr %wave) nounwind {
entry:
  %pool = get Frame.pool %f
  %no.pool = icmp eq ptr %pool, null
  br i1 %no.pool, label %alone, label %workers
workers:
  %n = get Pool.n_workers %pool
  %no.workers = icmp eq i32 %n, 0
  %remaining = get Frame.remaining %f
  %one = icmp ult i32 %remaining, 2
  %total = get Frame.total %f
  %too.many = icmp ugt i32 %total, $RANGE_MASK
  %unfit = or i1 %one, %too.many
  %skip = or i1 %no.workers, %unfit
  br i1 %skip, label %alone, label %estimate
estimate:
  %cost.at = addr Wave.cost %wave
  %cost = load atomic i32, ptr %cost.at monotonic, align 4
  %known = icmp ne i32 %cost, 0
  %cost64 = zext i32 %cost to i64
  %tiles64 = zext i32 %remaining to i64
  %work.0 = mul i64 %cost64, %tiles64
  %work = select i1 %known, i64 %work.0, i64 -1
  %threshold = get Frame.threshold %f
  %little = icmp ult i64 %work, %threshold
  br i1 %little, label %measured, label %lease
lease:
  %leased = get Frame.leased %f
  %mine = icmp ne i32 %leased, 0
  br i1 %mine, label %together, label %acquire
acquire:
  %lease.at = addr Pool.lease %pool
  %swap = cmpxchg ptr %lease.at, i32 0, i32 1 seq_cst monotonic
  %got = extractvalue { i32, i1 } %swap, 1
  br i1 %got, label %own, label %alone
own:
  put i32 1, Frame.leased %f
  br label %together
together:
  %r0 = call i32 @execute_together(ptr %pool, ptr %f, ptr %wave, i64 %work)
  ret i32 %r0
measured:
  %scattered.m = get Frame.scattered %f
  %parts.m = icmp ne i32 %scattered.m, 0
  br i1 %parts.m, label %scraps, label %small
small:
  ; Measuring costs as much as a small tile: every 16th run is enough to notice a change.
  %runs = get Frame.runs %f
  %phase = and i32 %runs, 15
  %turn = icmp eq i32 %phase, 0
  %r1 = call i32 @execute_alone(ptr %f, ptr %wave, i1 %turn)
  ret i32 %r1
alone:
  %scattered = get Frame.scattered %f
  %parts = icmp ne i32 %scattered, 0
  br i1 %parts, label %scraps, label %whole
scraps:
  %r3 = call i32 @execute_scattered(ptr %f)
  ret i32 %r3
whole:
  %r2 = call i32 @execute_alone(ptr %f, ptr %wave, i1 false)
  ret i32 %r2
}

; ---- frames

; Note when wave number i begins, which is when the one before it ended.
define internal void @stamp(ptr %f, i32 %i) nounwind noinline cold {
  %times = get Frame.times %f
  %at = at i64 %times, i32 %i
  %now = call i64 @ticks()
  store i64 %now, ptr %at, align 8
  ret void
}

define internal i32 @run_frame(ptr %f) nounwind {
entry:
  %plan = get Frame.plan %f
  %waves = get Plan.waves %plan
  %n.waves = get Plan.n_waves %plan
  %budget = get Frame.budget %f
  %now = call i64 @ticks()
  %unlimited = icmp eq i64 %budget, 0
  %end = add i64 %now, %budget
  %deadline = select i1 %unlimited, i64 -1, i64 %end
  put i64 %deadline, Frame.deadline %f
  put i64 %now, Frame.last_check %f
  put i32 8, Frame.until_check %f
  put i32 8, Frame.stride %f
  %state = get Frame.state %f
  switch i32 %state, label %start [
    i32 $READY, label %next
    i32 $OPEN, label %run
    i32 $STRAGGLING, label %straggling
  ]
start:
  %runs = get Frame.runs %f
  %runs.1 = add i32 %runs, 1
  put i32 %runs.1, Frame.runs %f
  put i64 $NO_ERROR, Frame.error %f
  put i32 0, Frame.wave %f
  %resolved = call i64 @resolve_table(ptr %f, ptr %plan)
  %unusable = icmp ne i64 %resolved, 0
  br i1 %unusable, label %error, label %program
program:
  %params = get Frame.params %f
  call void @run_program(ptr %plan, ptr %params)
  %arena.param = get Plan.arena_param %plan
  %no.arena = icmp eq i32 %arena.param, $NO_PARAM
  br i1 %no.arena, label %begin, label %arena
arena:
  %wanted.at = at i64 %params, i32 %arena.param
  %wanted = load i64, ptr %wanted.at, align 8
  %table = get Frame.table %f
  %capacity = get Row.length %table
  %grow = icmp ugt i64 %wanted, %capacity
  br i1 %grow, label %grow.arena, label %begin
grow.arena:
  ret i32 $GROW
begin:
  put i32 $READY, Frame.state %f
  %flags.begin = get Frame.flags %f
  %time.begin = and i32 %flags.begin, $FLAG_TIME
  %timed.begin = icmp ne i32 %time.begin, 0
  br i1 %timed.begin, label %first, label %next
first:
  call void @stamp(ptr %f, i32 0)
  br label %next
next:
  %w = get Frame.wave %f
  %finished = icmp uge i32 %w, %n.waves
  br i1 %finished, label %complete, label %open
open:
  %wave = at Wave %waves, i32 %w
  %kind = get Wave.kind %wave
  %host = icmp eq i32 %kind, $WAVE_HOST_CALL
  br i1 %host, label %host.call, label %prepare
prepare:
  %total = call i64 @prepare_wave(ptr %f, ptr %plan, ptr %wave)
  %bad = icmp slt i64 %total, 0
  br i1 %bad, label %error, label %prepared
prepared:
  %total32 = trunc i64 %total to i32
  put i32 %total32, Frame.total %f
  put i32 %total32, Frame.remaining %f
  put i32 0, Frame.scattered %f
  put i32 $OPEN, Frame.state %f
  br label %run
straggling:
  %pool = get Frame.pool %f
  %s = call i32 @await(ptr %pool, ptr %f)
  %still = icmp eq i32 %s, $WAIT
  br i1 %still, label %wait, label %caught.up
wait:
  ret i32 $WAIT
caught.up:
  %left = get Frame.remaining %f
  %all = icmp eq i32 %left, 0
  br i1 %all, label %ran, label %resume
resume:
  %stop = call i1 @failed(ptr %f)
  br i1 %stop, label %error, label %told
told:
  %stop.at = addr Frame.stop %f
  %stop.now = load atomic i32, ptr %stop.at monotonic, align 4
  %halt = icmp ne i32 %stop.now, 0
  br i1 %halt, label %yield, label %run
run:
  %left.run = get Frame.remaining %f
  %nothing = icmp eq i32 %left.run, 0
  br i1 %nothing, label %ran, label %work
work:
  %w.run = get Frame.wave %f
  %wave.run = at Wave %waves, i32 %w.run
  %r = call i32 @execute(ptr %f, ptr %wave.run)
  %must.wait = icmp eq i32 %r, $WAIT
  br i1 %must.wait, label %wait, label %check
check:
  %bad.run = call i1 @failed(ptr %f)
  br i1 %bad.run, label %error, label %progress
progress:
  %more = icmp eq i32 %r, $YIELD
  br i1 %more, label %yield, label %ran
ran:
  %bad.ran = call i1 @failed(ptr %f)
  br i1 %bad.ran, label %error, label %advance
advance:
  %w.ran = get Frame.wave %f
  %w.next = add i32 %w.ran, 1
  put i32 %w.next, Frame.wave %f
  put i32 $READY, Frame.state %f
  %flags = get Frame.flags %f
  %watch = and i32 %flags, $FLAG_WATCHED
  %watched = icmp ne i32 %watch, 0
  br i1 %watched, label %watch.wave, label %next
watch.wave:
  %time = and i32 %flags, $FLAG_TIME
  %timed = icmp ne i32 %time, 0
  br i1 %timed, label %note.time, label %step.wave
note.time:
  call void @stamp(ptr %f, i32 %w.next)
  br label %step.wave
step.wave:
  %step = and i32 %flags, $FLAG_STEP
  %stepping = icmp ne i32 %step, 0
  br i1 %stepping, label %yield, label %next
host.call:
  ; The host notes the time itself, when its function has returned.
  %w.host = add i32 %w, 1
  put i32 %w.host, Frame.wave %f
  ret i32 $HOST_CALL
yield:
  ret i32 $YIELD
error:
  put i32 $START, Frame.state %f
  ret i32 $ERROR
complete:
  put i32 $START, Frame.state %f
  ret i32 $DONE
}

; Run a frame until it is done, yields, waits, wants the host, fails or needs a larger arena.
define i32 @iree_run(ptr %f) nounwind {
entry:
  %fp = call i64 @enter_fp()
  %r = call i32 @run_frame(ptr %f)
  %wait = icmp eq i32 %r, $WAIT
  br i1 %wait, label %done, label %lease
lease:
  %leased = get Frame.leased %f
  %mine = icmp ne i32 %leased, 0
  br i1 %mine, label %release, label %done
release:
  put i32 0, Frame.leased %f
  %pool = get Frame.pool %f
  %lease.at = addr Pool.lease %pool
  store atomic i32 0, ptr %lease.at release, align 4
  br label %done
done:
  call void @leave_fp(i64 %fp)
  ret i32 %r
}

; Take the lease for something other than a frame (fork, shutdown). 1 when it was free.
define i32 @iree_lease(ptr %pool) nounwind {
  %lease.at = addr Pool.lease %pool
  %swap = cmpxchg ptr %lease.at, i32 0, i32 1 seq_cst monotonic
  %got = extractvalue { i32, i1 } %swap, 1
  %r = zext i1 %got to i32
  ret i32 %r
}

define void @iree_release(ptr %pool) nounwind {
  %lease.at = addr Pool.lease %pool
  store atomic i32 0, ptr %lease.at release, align 4
  ret void
}

; Tell all workers to return; the caller holds the lease.
define void @iree_shutdown(ptr %pool) nounwind {
  %shutdown.at = addr Pool.shutdown %pool
  store atomic i32 1, ptr %shutdown.at seq_cst, align 4
  %ticket = addr Pool.ticket %pool
  %old = atomicrmw add ptr %ticket, i64 4294967296 seq_cst
  %word = getelementptr i8, ptr %ticket, i64 4
  call void @os_wake(ptr %pool, ptr %word, i32 2147483647)
  ret void
}
