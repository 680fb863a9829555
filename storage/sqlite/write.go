package sqlite

import (
	"context"
	"errors"
	"sync"

	"modernc.org/sqlite"
)

// batchMost is how many writes share a commit at most.
const batchMost = 64

// queue are writes on their way. Whoever's turn it is carries out all that wait
// and commits them together: a commit is one flush of the disk, however much is
// in it, and while one is being flushed the next ones gather.
type queue struct {
	turn chan struct{} // is taken by sending

	mu      sync.Mutex
	waiting []*job
}

// job is one write.
type job struct {
	ctx   context.Context
	actor string // of the events
	do    func(tx *tx) error
	done  chan struct{} // closed when err is set
	begun bool          // do was called
	err   error
}

func newQueue() *queue { return &queue{turn: make(chan struct{}, 1)} }

func (q *queue) add(j *job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, j)
}

// withdraw takes back a job that nobody has begun.
func (q *queue) withdraw(j *job) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.waiting {
		if other == j {
			q.waiting = append(q.waiting[:i], q.waiting[i+1:]...)
			return true
		}
	}
	return false
}

// next takes the jobs that waited longest.
func (q *queue) next() []*job {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := min(len(q.waiting), batchMost)
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// write runs do in a transaction and commits it unless do fails. It begins with
// the write lock (BEGIN IMMEDIATE), so that nothing that do reads can change
// before the commit. Writes that wait for each other are committed together,
// and each of them alone fails or is done.
//
// A call whose context ends while it waits does nothing. Once it has begun it is
// seen through: to break it off would break off the others, too.
func (db *DB) write(ctx context.Context, do func(tx *tx) error) error {
	j := &job{ctx: ctx, actor: db.actor, do: do, done: make(chan struct{})}
	if err := ctx.Err(); err != nil {
		return err
	}
	db.queue.add(j)
	for {
		select {
		case <-j.done:
			return j.err
		case <-ctx.Done():
			if db.queue.withdraw(j) {
				return ctx.Err()
			}
			<-j.done
			return j.err
		case db.queue.turn <- struct{}{}:
			db.take(j)
		}
	}
}

// take commits what waits, and ends the turn of j's caller. A panic of one of the
// writes goes on through here; j is not left behind for others to do.
func (db *DB) take(j *job) {
	panics := true
	defer func() {
		if panics {
			db.queue.withdraw(j)
		}
		<-db.queue.turn
	}()
	select {
	case <-j.done: // nothing is left to do for it
	default:
		if batch := db.queue.next(); len(batch) > 0 {
			db.commit(batch)
		}
	}
	panics = false
}

// errBroken is what became of writes when one of them panicked.
var errBroken = errors.New("not written: a write beside it was broken off")

// commit carries out jobs in one transaction. Where that fails, nothing that one
// of them found is an answer: it may be what another had written.
func (db *DB) commit(batch []*job) {
	ctx := context.WithoutCancel(batch[0].ctx)
	err := errBroken // which is left by a panic, which goes on
	defer func() {
		for _, j := range batch {
			if err != nil && (j.err == nil || j.begun) {
				j.err = err
			}
			close(j.done)
		}
	}()
	var unstored []string
	unstored, err = db.transact(ctx, batch)
	// Only now is the connection free to prepare on. Whatever fails here is
	// tried again by the next transaction that needs it.
	for _, query := range unstored {
		db.writer.prepare(ctx, query)
	}
}

// transact is commit's transaction. It gives the queries that were not prepared
// yet, and an error when nothing is written but for what jobs say themselves.
func (db *DB) transact(ctx context.Context, batch []*job) (unstored []string, err error) {
	t, err := db.writer.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer t.Rollback() // of no effect after Commit
	w := &tx{ctx: ctx, tx: t, pool: db.writer}
	wrote := false
	for _, j := range batch {
		if j.err = j.ctx.Err(); j.err != nil {
			continue
		}
		j.begun, w.actor = true, j.actor
		var broken error
		if j.err, broken = w.inside(j.do); broken != nil {
			return nil, broken
		}
		wrote = wrote || j.err == nil
	}
	if !wrote {
		return nil, nil
	}
	return w.unstored, t.Commit()
}

// inside does one of the writes of a transaction, of which nothing is left when
// it fails. broken is an error of the transaction itself: a full disk, say, takes
// all of it back.
func (t *tx) inside(do func(tx *tx) error) (err, broken error) {
	if _, err := t.exec("SAVEPOINT write"); err != nil {
		return err, err
	}
	if err = do(t); err != nil {
		_, broken = t.exec("ROLLBACK TO write")
	}
	if broken == nil {
		_, broken = t.exec("RELEASE write")
	}
	// What else SQLite said tells the others why. What the write itself found, such
	// as storage.ErrNotFound, is not for them.
	if cause := (*sqlite.Error)(nil); broken != nil && errors.As(err, &cause) {
		broken = errors.Join(cause, broken)
	}
	return err, broken
}
