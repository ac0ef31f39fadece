package redisrevoke

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	randomly "math/rand/v2"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Two goroutines talk to Redis, each over a connection of its own. follow waits for what is
// added. serve does what calls of Add and Revoked ask for.

const (
	minBackOff = 50 * time.Millisecond
	maxBackOff = time.Second
	blockTime  = time.Second // and so, how long it takes to see that Redis was emptied
	pageSize   = 500         // entries in one exchange
)

// sweepEvery is how often what is over is removed.
var sweepEvery = time.Minute

func newEpoch() string { return rand.Text() }

// settleTime is how long it takes until every node in reach has seen a new epoch and has
// begun to write back what it knows.
func (r *Revocations) settleTime() time.Duration { return blockTime + maxBackOff + r.opts.Timeout }

// pageTime is the longest that there can be between two pages of a node that writes back.
func (r *Revocations) pageTime() time.Duration { return 2 * r.opts.Timeout }

var (
	errClosed   = errors.New("closed")
	errUnread   = errors.New("what Redis holds is being read")
	errSettling = errors.New("redis is new, or may have lost data; other nodes are given the time to write back what they know")
	errNoStream = errors.New("the stream is gone")

	errElsewhere = errors.New("redis is another one, or has lost data")
)

// follow reads what is added, from whatever Redis there is, until Close.
func (r *Revocations) follow() {
	backOff := minBackOff
	var told error // why it is not connected, since it was last
	for {
		err := r.session(func() {
			backOff, told = minBackOff, nil
			r.mu.Lock()
			n := len(r.known)
			r.mu.Unlock()
			r.log.Info("redisrevoke: connected", "revocations", n)
		})
		if r.ctx.Err() != nil {
			return
		}
		// A replica closes connections before it says that it is one.
		if told == nil || errors.Is(err, errReplica) && !errors.Is(told, errReplica) {
			told = err
			r.log.Warn("redisrevoke: not connected", "error", err.Error(), "new_tokens", r.meanwhile())
		}
		select {
		case <-time.After(backOff/2 + randomly.N(backOff/2)):
		case <-r.ctx.Done():
			return
		}
		backOff = min(2*backOff, maxBackOff)
		r.sweepUnsent()
	}
}

func (r *Revocations) meanwhile() string {
	if r.opts.FailOpen {
		return "judged by what this node knows"
	}
	return "refused"
}

// session follows one connection until it ends, and returns why.
func (r *Revocations) session(connected func()) error {
	r.mu.Lock()
	r.found = ""
	r.mu.Unlock()
	conn, opened, err := r.dial()
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := r.load(conn, opened); err != nil {
		return err
	}
	connected()
	swept := time.Now()
	var over []stale
	for {
		r.wakeIfUnsent()
		if r.elsewhere() {
			return errElsewhere
		}
		block := blockTime
		if len(over) > 0 {
			block = 0
		}
		if _, err := r.read(conn, block); err != nil {
			return err // a new connection finds the new epoch, or another Redis
		}
		if len(over) == 0 && time.Since(swept) >= sweepEvery {
			swept = time.Now()
			if over, err = r.allOver(conn); err != nil {
				return err
			}
		}
		if over, err = r.sweep(conn, over); err != nil {
			return err
		}
	}
}

// elsewhere reports whether serve found another epoch than the one that was loaded. So Dial may lead to
// another Redis by now than this connection does.
func (r *Revocations) elsewhere() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.found != "" && r.found != r.epoch
}

// load reads the whole stream where the epoch is another than before. What it lacks of what the
// node knows is then due to be sent.
func (r *Revocations) load(conn redis.Conn, opened opening) error {
	r.mu.Lock()
	same, first := opened.epoch == r.epoch, r.epoch == ""
	if !same {
		for _, n := range r.known {
			n.at = nil
		}
	}
	r.mu.Unlock()
	if same {
		return nil
	}
	var last position
	for page := range r.pages(conn) {
		if page.err != nil {
			return page.err
		}
		last = page.entries[len(page.entries)-1].at
		r.mu.Lock()
		r.take(page.entries, opened.now.Add(-r.pageTime()))
		r.mu.Unlock()
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for id, n := range r.known {
		switch {
		case len(n.at) > 0 || n.sentIn == opened.epoch: // serve may have sent it while the stream was read
			delete(r.unsent, id)
		case n.over(now):
			r.forget(id)
		default:
			r.unsent[id] = true
			n.again = !first
		}
	}
	r.epoch, r.last = opened.epoch, last
	age := max(0, opened.now.Sub(opened.made)) // the clock of Redis may have been set back
	r.settled = now.Add(r.settleTime() - age)
	if !first {
		r.log.Warn("redisrevoke: Redis was restarted or has lost data", "missing", len(r.unsent))
	}
	return nil
}

// page is what one XREAD brought, or why there will be no other.
type page struct {
	entries []entry
	err     error
}

// pages reads the whole stream. One page is fetched while the one before is taken in, which takes as
// long. They have to be received up to the last, or to the error.
func (r *Revocations) pages(conn redis.Conn) <-chan page {
	pages := make(chan page, 1)
	go func() {
		defer close(pages)
		var last position
		for {
			entries, err := r.fetch(conn, last)
			if err == nil && len(entries) == 0 {
				return
			}
			pages <- page{entries, err}
			if err != nil {
				return
			}
			last = entries[len(entries)-1].at
		}
	}()
	return pages
}

func (r *Revocations) fetch(conn redis.Conn, last position) ([]entry, error) {
	replies, err := exchange(r.ctx, conn, r.opts.Timeout, r.xread(last))
	if err != nil {
		return nil, err
	}
	return parseEntries(replies[0])
}

func (r *Revocations) xread(last position, options ...any) command {
	args := append(options, "COUNT", pageSize, "STREAMS", r.stream, last.String())
	return do("XREAD", args...)
}

// read takes in what was added, for which it waits up to block. It returns errUnread where nothing
// was loaded yet, and whether there may be more.
func (r *Revocations) read(conn redis.Conn, block time.Duration) (more bool, err error) {
	r.mu.Lock()
	epoch, last := r.epoch, r.last
	r.mu.Unlock()
	if epoch == "" {
		return false, errUnread
	}
	var options []any
	if block > 0 {
		options = []any{"BLOCK", block.Milliseconds()}
	}
	replies, err := exchange(r.ctx, conn, block+r.opts.Timeout, append([]command{r.xread(last, options...)}, r.look()...)...)
	if err != nil {
		return false, err
	}
	entries, err := parseEntries(replies[0])
	if err != nil {
		return false, err
	}
	if err := judge(replies[1:], epoch); err != nil {
		return false, err
	}

	r.mu.Lock()
	defer r.mu.Unlock()
	if r.epoch != epoch {
		return false, errUnread
	}
	// One step with the reading of r.last above: when the other goroutine finds that
	// there is nothing after last, all before it is in replica.
	r.take(entries, time.Time{})
	for _, e := range entries { // another node may have written it back
		delete(r.unsent, e.record.ID)
	}
	if n := len(entries); n > 0 && r.last.before(entries[n-1].at) {
		r.last = entries[n-1].at
	}
	return len(entries) == pageSize, nil
}

// take puts into replica what the node does not know yet. What was written back after recent, by
// the clock of Redis, says that more may come. It is called with the mutex.
func (r *Revocations) take(entries []entry, recent time.Time) {
	now := time.Now()
	skipped, example := 0, ""
	for _, e := range entries {
		if e.isEpoch {
			continue
		}
		if e.again && e.at.time().After(recent) {
			r.writtenBack = now
		}
		if e.odd != nil {
			skipped++
			example = fmt.Sprintf("%s: %v", e.at, e.odd)
			continue
		}
		rec := e.record
		if n := r.known[rec.ID]; n != nil {
			n.at = append(n.at, e.at)
			continue
		}
		r.known[rec.ID] = &note{record: rec, at: []position{e.at}}
		if !rec.over(now) {
			_ = r.replica.Add(r.ctx, rec.revocation()) // fails for what is wrong only, which it is not
		}
	}
	if skipped > 0 {
		r.log.Warn("redisrevoke: entries that cannot be read are skipped", "entries", skipped, "example", example)
	}
}

// forget is called with the mutex.
func (r *Revocations) forget(id string) {
	delete(r.known, id)
	delete(r.unsent, id)
}

// stale is an entry of the stream whose record is over.
type stale struct {
	id string // of the record
	at position
}

// allOver returns the entries that are over, and forgets what is over and has none. It goes by the
// clock of Redis: if each node went by its own, one that is wrong would do harm to all.
func (r *Revocations) allOver(conn redis.Conn) ([]stale, error) {
	replies, err := exchange(r.ctx, conn, r.opts.Timeout, do("TIME"))
	if err != nil {
		return nil, err
	}
	clock, err := redis.Int64s(replies[0], refusal(replies[0]))
	if err != nil || len(clock) != 2 {
		return nil, errors.Join(errOddReply, err)
	}
	now := time.Unix(clock[0], clock[1]*1000)

	var over []stale
	r.mu.Lock()
	defer r.mu.Unlock()
	looked := 0
	for id, n := range r.known {
		if n.over(now) {
			for _, at := range n.at {
				over = append(over, stale{id, at})
			}
			if len(n.at) == 0 {
				r.forget(id)
			}
		}
		if looked++; looked%pageSize == 0 { // others wait for the mutex
			r.mu.Unlock()
			r.mu.Lock()
		}
	}
	return over, nil
}

// sweep removes the first page of what is over from Redis, and returns the rest. What Redis has
// removed is forgotten here. What it has not, the next allOver finds again.
func (r *Revocations) sweep(conn redis.Conn, over []stale) (rest []stale, err error) {
	page, rest := over[:min(len(over), pageSize)], over[min(len(over), pageSize):]
	if len(page) == 0 {
		return nil, nil
	}
	args := []any{r.stream}
	for _, e := range page {
		args = append(args, e.at.String())
	}
	replies, err := exchange(r.ctx, conn, r.opts.Timeout, do("XDEL", args...))
	if err == nil {
		err = refusal(replies[0])
	}
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range page {
		n := r.known[e.id]
		if n == nil {
			continue
		}
		if n.at = n.at[1:]; len(n.at) == 0 { // they came in this order
			r.forget(e.id)
		}
	}
	return rest, nil
}

// sweepUnsent forgets what is over before Redis has seen it.
func (r *Revocations) sweepUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for id := range r.unsent {
		if r.known[id].over(now) {
			r.forget(id)
		}
	}
}

// round is one exchange that calls of Add and Revoked share.
type round struct {
	done chan struct{}
	sent error // whether all that was added before it began is in Redis
	read error // whether all that was in Redis when it began is in replica
}

// ask waits for a round that begins after it was called, and is as strict as one of its own.
func (r *Revocations) ask(ctx context.Context) (*round, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, r.opts.Timeout, fmt.Errorf("no answer within %v", r.opts.Timeout))
	defer cancel()
	r.asking.Lock()
	if r.next == nil {
		r.next = &round{done: make(chan struct{})}
	}
	mine := r.next
	r.asking.Unlock()
	r.wakeUp()
	select {
	case <-mine.done:
		return mine, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-r.ctx.Done():
		return nil, errClosed
	}
}

func (r *Revocations) wakeUp() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Revocations) wakeIfUnsent() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.unsent) > 0 {
		r.wakeUp()
	}
}

// serve does the rounds, one at a time, until Close.
func (r *Revocations) serve() {
	var l line
	defer l.hangUp()
	for {
		select {
		case <-r.wake:
		case <-r.ctx.Done():
			return
		}
		r.asking.Lock()
		now := r.next
		r.next = nil
		r.asking.Unlock()
		if now == nil { // follow has something to send
			now = &round{done: make(chan struct{})}
		}
		before := r.loaded()
		r.try(&l, now)
		if r.loaded() != before { // what was sent may have gone where it is lost
			r.try(&l, now)
		}
		close(now.done)
	}
}

// line is the connection of serve.
type line struct {
	conn  redis.Conn // nil while there is none
	epoch string     // that was there when it was opened
}

func (l *line) hangUp() {
	if l.conn != nil {
		_ = l.conn.Close()
		l.conn = nil
	}
}

// try does a round. What is in a Redis that the nodes do not follow counts for nothing, so where follow
// has loaded another epoch than that of the connection, it takes a new one.
func (r *Revocations) try(l *line, now *round) {
	now.sent, now.read = nil, nil
	if loaded := r.loaded(); loaded != "" && loaded != l.epoch {
		l.hangUp()
	}
	err := r.find(l)
	if err == nil {
		if now.sent, err = r.send(l); err == nil {
			now.read, err = r.catchUp(l.conn)
		}
	}
	if err != nil {
		l.hangUp()
		now.read = err
		if now.sent == nil {
			now.sent = err
		}
	}
}

// loaded returns the epoch whose stream was read, "" before there is one.
func (r *Revocations) loaded() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.epoch
}

// find opens the connection, unless it is open, and tells follow which epoch is there.
func (r *Revocations) find(l *line) error {
	if l.conn != nil {
		return nil
	}
	conn, opened, err := r.dial()
	if err != nil {
		return err
	}
	l.conn, l.epoch = conn, opened.epoch
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found = opened.epoch
	return nil
}

// send writes what is not in Redis yet. It returns whether Redis has it all, and an error
// where the connection is lost.
func (r *Revocations) send(l *line) (sent, lost error) {
	r.mu.Lock()
	ids := make([]string, 0, len(r.unsent))
	for id := range r.unsent {
		ids = append(ids, id)
	}
	r.mu.Unlock()
	for len(ids) > 0 {
		page := ids[:min(len(ids), pageSize)]
		ids = ids[len(page):]
		refused, err := r.sendPage(l, page)
		if err != nil {
			return nil, err
		}
		if refused != nil {
			sent = refused
		}
	}
	return sent, nil
}

func (r *Revocations) sendPage(l *line, ids []string) (refused, lost error) {
	var sending []*note
	var commands []command
	r.mu.Lock()
	for _, id := range ids {
		n := r.known[id]
		if n == nil || !r.unsent[id] {
			continue // swept, or written back by another node since
		}
		data, err := n.encode()
		if err != nil { // Add has tried
			r.forget(id)
			continue
		}
		sending = append(sending, n)
		// A stream that is gone is for openScript to make, or nobody would notice.
		add := do("XADD", r.stream, "NOMKSTREAM", "*", fieldRevocation, data)
		if n.again {
			add.args = append(add.args, fieldAgain, "1")
		}
		commands = append(commands, add)
	}
	r.mu.Unlock()
	if len(commands) == 0 {
		return nil, nil
	}
	replies, err := exchange(r.ctx, l.conn, r.opts.Timeout, commands...)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, reply := range replies {
		switch err := refusal(reply); {
		case err != nil:
			refused = err
		case reply == nil:
			refused = errNoStream
		case r.epoch != "" && r.epoch != l.epoch:
			refused = errUnread // it has gone where it is lost
		default:
			sending[i].sentIn = l.epoch
			delete(r.unsent, sending[i].ID)
		}
	}
	return refused, nil
}

// catchUp takes in all there is in Redis. It returns whether the node may then judge, and an
// error where the connection is lost or of no use.
func (r *Revocations) catchUp(conn redis.Conn) (read, lost error) {
	for {
		more, err := r.read(conn, 0)
		if errors.Is(err, errUnread) || errors.Is(err, errLost) {
			return err, nil
		}
		if err != nil {
			return nil, err
		}
		if !more {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Before(r.settled) || now.Before(r.writtenBack.Add(r.pageTime())) {
		return errSettling, nil
	}
	return nil, nil
}
