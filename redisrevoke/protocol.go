package redisrevoke

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gomodule/redigo/redis"
)

// Redis has a stream with an entry for each revocation, and the epoch, which changes when the
// stream may have lost entries. openScript makes the epoch. It runs first on each connection.
//
// A connection is to one process. A restart, and a failover to a replica that lacked the last
// writes, show by the run_id of the process in the epoch. An empty Redis has no epoch. A master
// that was made a replica, which then holds the data of its master, and a master again shows by the
// replication id in the epoch, which is a new one from then on: its run_id stays, and the other
// data may have the same epoch. (The replication id also changes when the first replica comes, and
// an hour after the last one has left.) The stream always has the epoch's entry, so a stream that
// is missing was deleted or evicted.
//
// A replica may lack what its master has, so it must not be asked: openScript returns nothing
// there. From a master it returns the epoch, and in milliseconds when the epoch was made and what
// time it is. The epoch of nodes of version 0.1.0 has no replication id; they take an epoch with
// one for theirs.
const openScript = `
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
if not run then return redis.error_reply('ERR INFO has no run_id') end
local replication = redis.call('INFO', 'replication')
if string.match(replication, 'role:(%w+)') ~= 'master' then return {} end
local history = string.match(replication, 'master_replid:(%w+)')
if not history then return redis.error_reply('ERR INFO has no master_replid') end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local epoch = redis.call('GET', KEYS[1])
local stream = redis.call('EXISTS', KEYS[2])
local owner, made, of
if epoch then owner, made, of = string.match(epoch, '^(%w+) (%d+) %w+ (%w+)$') end
if not made or owner ~= run or of ~= history or stream == 0 then
	made = string.format('%.0f', now)
	epoch = run .. ' ' .. made .. ' ' .. ARGV[1] .. ' ' .. history
	redis.call('SET', KEYS[1], epoch)
	redis.call('XADD', KEYS[2], '*', 'epoch', epoch)
end
return {epoch, made, string.format('%.0f', now)}
`

// The fields of entries in the stream.
const (
	fieldRevocation = "revocation"
	fieldEpoch      = "epoch"
	fieldAgain      = "again" // beside a revocation that is written back
)

type command struct {
	name string
	args []any
}

func do(name string, args ...any) command { return command{name, args} }

// exchange sends commands and returns the replies. A reply that is a redis.Error is a value: Redis
// refused the command. After an error the connection is closed. An exchange that takes longer than
// limit is ended by closing the connection, because redigo has no other way to end a write.
func exchange(ctx context.Context, conn redis.Conn, limit time.Duration, commands ...command) ([]any, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no answer within %v", limit))
	defer cancel()
	closed := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(closed)
		_ = conn.Close()
	})
	replies, err := roundTrip(conn, limit, commands)
	if !stop() {
		<-closed
		return nil, context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
	}
	return replies, err
}

func roundTrip(conn redis.Conn, limit time.Duration, commands []command) ([]any, error) {
	for _, c := range commands {
		if err := conn.Send(c.name, c.args...); err != nil {
			return nil, err
		}
	}
	if err := conn.Flush(); err != nil {
		return nil, err
	}
	receive := conn.Receive
	if c, ok := conn.(redis.ConnWithTimeout); ok {
		// XREAD blocks longer than the timeout that Dial may have set for other commands.
		receive = func() (any, error) { return c.ReceiveWithTimeout(limit) }
	}
	replies := make([]any, len(commands))
	for i := range replies {
		reply, err := receive()
		var refused redis.Error
		if errors.As(err, &refused) {
			reply, err = refused, nil
		}
		if err != nil {
			return nil, err
		}
		replies[i] = reply
	}
	return replies, nil
}

var (
	errReplica = errors.New("redis is a replica, which may lack what its master has")
	errLost    = errors.New("redis has lost data")
	errAlone   = errors.New("redis lacks the replicas that min-replicas-to-write asks for, so another may be the master by now")
)

// look returns the commands that ask whether the stream is the one of an epoch, and whether all
// that was added is in it. They come last in an exchange: data that is lost after them was still
// there when the commands before ran. judge reads the replies.
func (r *Revocations) look() []command {
	return []command{do("EXISTS", r.stream), do("GET", r.epochOf), do("INFO", "replication"), do("XDEL", r.stream, noEntry)}
}

// noEntry is the id of no entry. To remove it changes nothing, and is refused where Redis takes no
// writes because it lacks replicas.
const noEntry = "0-0"

// judge returns errReplica, errAlone, errLost, or why it cannot tell. The epoch "" stands for any.
func judge(replies []any, epoch string) error {
	exists, err := redis.Bool(replies[0], refusal(replies[0]))
	if err != nil {
		return err
	}
	now, err := redis.String(replies[1], refusal(replies[1]))
	if err != nil && !errors.Is(err, redis.ErrNil) {
		return err
	}
	info, err := redis.String(replies[2], refusal(replies[2]))
	if err != nil {
		return err
	}
	history := now[strings.LastIndexByte(now, ' ')+1:]
	switch {
	case !strings.Contains(info, "\nrole:master\r\n"):
		return errReplica
	case strings.HasPrefix(fmt.Sprint(refusal(replies[3])), "NOREPLICAS"):
		return errAlone
	case !exists, epoch != "" && epoch != now, !strings.Contains(info, "\nmaster_replid:"+history+"\r\n"):
		return errLost
	}
	return nil
}

// opening is what openScript returned: the epoch, when it was made, and what time it was by the
// clock of Redis. at is when the reply came, by the clock of the node.
type opening struct {
	epoch     string
	made, now time.Time
	at        time.Time
}

// dial opens a connection.
func (r *Revocations) dial() (conn redis.Conn, opened opening, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, r.opts.Timeout)
	defer cancel()
	conn, err = r.callDial(ctx)
	if err != nil {
		return nil, opened, err
	}
	began := time.Now()
	replies, err := exchange(r.ctx, conn, r.opts.Timeout, do("EVAL", openScript, 2, r.epochOf, r.stream, newEpoch()))
	if err != nil {
		return nil, opened, err
	}
	ended := time.Now()
	if opened, err = parseOpening(replies[0]); err != nil {
		_ = conn.Close()
		return nil, opened, err
	}
	opened.at = ended
	r.compare(began, ended, opened.now)
	return conn, opened, nil
}

func parseOpening(reply any) (opened opening, err error) {
	fields, err := redis.Strings(reply, refusal(reply))
	if err != nil {
		return opened, err
	}
	if len(fields) == 0 {
		return opened, errReplica
	}
	if len(fields) != 3 {
		return opened, errOddReply
	}
	made, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return opened, err
	}
	now, err := strconv.ParseInt(fields[2], 10, 64)
	return opening{epoch: fields[0], made: time.UnixMilli(made), now: time.UnixMilli(now)}, err
}

// callDial calls the application's function, in a goroutine that the function may end.
func (r *Revocations) callDial(ctx context.Context) (conn redis.Conn, err error) {
	err = errors.New("Options.Dial ended its goroutine")
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				conn, err = nil, fmt.Errorf("Options.Dial panicked: %v", p)
			}
		}()
		conn, err = r.opts.Dial(ctx)
	}()
	<-done
	if err != nil {
		return nil, withoutURL(err)
	}
	if conn == nil {
		return nil, errors.New("Options.Dial returned no connection")
	}
	return conn, nil
}

// withoutURL cuts the URL off, which may contain the password.
func withoutURL(err error) error {
	var withURL *url.Error
	if errors.As(err, &withURL) {
		return errors.New("wrong URL of Redis")
	}
	return err
}

func refusal(reply any) error {
	if refused, ok := reply.(redis.Error); ok {
		return refused
	}
	return nil
}

var errOddReply = errors.New("redis sent a reply of a kind that was not asked for")

// position is the id of an entry in the stream.
type position struct{ milliseconds, sequence uint64 }

func (p position) String() string { return fmt.Sprintf("%d-%d", p.milliseconds, p.sequence) }

func (p position) before(q position) bool {
	return p.milliseconds < q.milliseconds || p.milliseconds == q.milliseconds && p.sequence < q.sequence
}

func (p position) time() time.Time { return time.UnixMilli(int64(p.milliseconds)) }

func parsePosition(id string) (p position, err error) {
	milliseconds, sequence, _ := strings.Cut(id, "-")
	if p.milliseconds, err = strconv.ParseUint(milliseconds, 10, 64); err == nil {
		p.sequence, err = strconv.ParseUint(sequence, 10, 64)
	}
	return p, err
}

// entry is an entry of the stream.
type entry struct {
	at      position
	isEpoch bool // and no revocation
	again   bool
	record  record
	odd     error // why there is no record
}

// parseEntries reads a reply to XREAD of one stream.
func parseEntries(reply any) ([]entry, error) {
	if reply == nil { // nothing new
		return nil, nil
	}
	streams, err := redis.Values(reply, refusal(reply))
	if err != nil {
		return nil, err
	}
	if len(streams) != 1 {
		return nil, errOddReply
	}
	stream, err := redis.Values(streams[0], nil)
	if err != nil || len(stream) != 2 {
		return nil, errOddReply
	}
	list, err := redis.Values(stream[1], nil)
	if err != nil {
		return nil, errOddReply
	}
	entries := make([]entry, len(list))
	for i, item := range list {
		if entries[i], err = parseEntry(item); err != nil {
			return nil, errOddReply
		}
	}
	return entries, nil
}

func parseEntry(item any) (e entry, err error) {
	pair, err := redis.Values(item, nil)
	if err != nil || len(pair) != 2 {
		return e, errOddReply
	}
	id, err := redis.String(pair[0], nil)
	if err != nil {
		return e, err
	}
	if e.at, err = parsePosition(id); err != nil {
		return e, err
	}
	fields, err := redis.Values(pair[1], nil)
	if err != nil || len(fields)%2 != 0 {
		return e, errOddReply
	}
	var data []byte
	isRevocation := false
	for i := 0; i < len(fields); i += 2 {
		name, err := redis.Bytes(fields[i], nil)
		if err != nil {
			return e, err
		}
		value, err := redis.Bytes(fields[i+1], nil)
		if err != nil {
			return e, err
		}
		switch string(name) {
		case fieldRevocation:
			data, isRevocation = value, true
		case fieldEpoch:
			e.isEpoch = true
		case fieldAgain:
			e.again = true
		}
	}
	if e.isEpoch = e.isEpoch && !isRevocation; !e.isEpoch {
		e.record, e.odd = decodeRecord(data)
	}
	return e, nil
}
