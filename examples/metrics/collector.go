package main

import (
	"github.com/go-socketiojwt/socketiojwt"
	"github.com/prometheus/client_golang/prometheus"
)

// collector gives the counts of an Authorizer to Prometheus. Copy it: there is nothing to it.
type collector struct{ auth *socketiojwt.Authorizer }

var (
	active         = describe("sessions", "Connections that have a session.")
	pending        = describe("pending_sockets", "Sockets of protected namespaces that are not authenticated yet.")
	authenticated  = describe("authenticated_total", "Connections that were given a session.")
	refreshed      = describe("refreshed_total", "Sessions that were replaced by one of a newer token.")
	ended          = describe("sessions_ended_total", "Sessions that the server ended, by reason.", "reason")
	refused        = describe("refused_total", "Clients that were refused, by the code of the reason.", "code")
	early          = describe("early_events_total", "Events that were dropped because their socket was not authenticated yet.")
	packetsRefused = describe("packets_refused_total", "Clients that were disconnected for what they sent, by reason.", "reason")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("socketiojwt_"+name, help, labels, nil)
}

func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{active, pending, authenticated, refreshed, ended, refused, early, packetsRefused} {
		descs <- desc
	}
}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.auth.Stats() // once, so that the numbers belong together
	gauge := func(desc *prometheus.Desc, n int) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n))
	}
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(active, stats.Active)
	gauge(pending, stats.Pending)
	count(authenticated, stats.Authenticated)
	count(refreshed, stats.Refreshed)
	count(ended, stats.Expired, "expired")
	count(ended, stats.Revoked, "revoked")
	count(ended, stats.Disconnected, "disconnected")
	for code, n := range stats.Refused {
		count(refused, n, code)
	}
	count(early, stats.EarlyEvents)
	for reason, n := range stats.PacketsRefused {
		count(packetsRefused, n, reason)
	}
}
