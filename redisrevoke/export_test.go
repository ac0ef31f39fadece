package redisrevoke

import "time"

// Tests have no minutes to wait.
func init() { clockSlack, sweepEvery = 500*time.Millisecond, 200*time.Millisecond }

// DecodeRecord reports whether an entry of the stream is taken.
func DecodeRecord(data []byte) error {
	_, err := decodeRecord(data)
	return err
}

// ParseEntries reports whether a reply to XREAD is taken.
func ParseEntries(reply any) error {
	_, err := parseEntries(reply)
	return err
}
