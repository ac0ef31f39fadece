package transport

import "time"

// meter is a token bucket for packets and one for bytes. Each holds what a second may bring. In the
// zero value both are full.
type meter struct {
	packets, bytes float64 // spent, and not yet refilled
	at             time.Time
}

// spend takes packets and bytes out of the buckets, or reports that there are not enough.
func (m *meter) spend(now time.Time, packets, bytes int, l Limits) bool {
	if !m.at.IsZero() {
		passed := now.Sub(m.at).Seconds()
		m.packets = max(0, m.packets-passed*float64(l.RestrictedPackets))
		m.bytes = max(0, m.bytes-passed*float64(l.RestrictedBytes))
	}
	m.at = now
	m.packets += float64(packets)
	m.bytes += float64(bytes)
	// One message may have RestrictedMessage whatever the rate, and the bytes of its packet around
	// it.
	return m.packets <= float64(l.RestrictedPackets) &&
		m.bytes <= float64(max(l.RestrictedBytes, l.RestrictedMessage+overhead))
}

// spend meters a restricted client. It is called with c.mu.
func (c *Client) spend(packets, bytes int) error {
	if c.restricted && !c.meter.spend(time.Now(), packets, bytes, c.hub.limits) {
		return TooFast
	}
	return nil
}
