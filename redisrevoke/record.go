package redisrevoke

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
)

// record is a revocation as it is in Redis.
type record struct {
	// ID is the same wherever and however often the record is written, so that a node takes it
	// once: to end the sessions of a user twice would end one that began after the first time.
	ID string `json:"id"`

	Issuer       string    `json:"iss,omitempty"`
	TokenID      string    `json:"jti,omitempty"`
	SID          string    `json:"sid,omitempty"`
	Subject      string    `json:"sub,omitempty"`
	Identity     string    `json:"identity,omitempty"`
	IssuedBefore time.Time `json:"issuedBefore"`
	Until        time.Time `json:"until"`
	SessionsOnly bool      `json:"sessionsOnly,omitempty"`
	ReplacedBy   string    `json:"replacedBy,omitempty"`
	Reason       *reason   `json:"reason,omitempty"`
}

type reason struct {
	Code    string `json:"code"`
	Message string `json:"message"`
}

// endOfTime is the last date that JSON's format of time can write.
var endOfTime = time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC)

func recordOf(id string, r socketiojwt.Revocation) record {
	rec := record{
		ID:           id,
		Issuer:       r.Issuer,
		TokenID:      r.TokenID,
		SID:          r.SID,
		Subject:      r.Subject,
		Identity:     r.Identity,
		IssuedBefore: r.IssuedBefore,
		Until:        r.Until,
		SessionsOnly: r.SessionsOnly,
		ReplacedBy:   r.ReplacedBy,
	}
	if rec.Until.After(endOfTime) {
		rec.Until = endOfTime
	}
	if r.Reason != nil {
		rec.Reason = &reason{r.Reason.Code, r.Reason.Message}
	}
	return rec
}

func (rec *record) revocation() socketiojwt.Revocation {
	r := socketiojwt.Revocation{
		Issuer:       rec.Issuer,
		TokenID:      rec.TokenID,
		SID:          rec.SID,
		Subject:      rec.Subject,
		Identity:     rec.Identity,
		IssuedBefore: rec.IssuedBefore,
		Until:        rec.Until,
		SessionsOnly: rec.SessionsOnly,
		ReplacedBy:   rec.ReplacedBy,
	}
	if rec.Reason != nil {
		r.Reason = &socketiojwt.UnauthorizedError{Code: rec.Reason.Code, Message: rec.Reason.Message}
	}
	return r
}

func (rec *record) encode() ([]byte, error) { return json.Marshal(rec) }

// decodeRecord reads data that anybody who can write to Redis may have put there.
func decodeRecord(data []byte) (record, error) {
	var rec record
	if err := json.Unmarshal(data, &rec); err != nil {
		return record{}, err
	}
	if rec.ID == "" {
		return record{}, errors.New("it has no id")
	}
	if rec.IssuedBefore.IsZero() {
		return record{}, errors.New("it has no issuedBefore")
	}
	if _, err := rec.revocation().Complete(); err != nil {
		return record{}, err
	}
	return rec, nil
}

// clockSlack is how far the clocks of nodes and Redis may be apart.
var clockSlack = time.Minute

// expired reports whether nobody needs the record any more.
func (rec *record) expired(now time.Time) bool { return !now.Before(rec.Until.Add(clockSlack)) }
