package main

import (
	"strconv"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/prometheus/client_golang/prometheus"
)

// collector gives the counts of an Authorizer to Prometheus. Copy it: there is nothing to it.
type collector struct{ auth *socketiojwt.Authorizer }

var (
	active         = describe("sessions", "Connections that have a session.")
	pending        = describe("pending_sockets", "Sockets of protected namespaces that are not authenticated yet.")
	pendingOfHost  = describe("pending_sockets_of_one_host", "How many of them the host has that has the most.")
	connections    = describe("connections", "Connections, by version of Engine.IO and transport.", "eio", "transport")
	outbox         = describe("outbox_bytes", "What waits for clients.")
	authenticated  = describe("authenticated_total", "Connections that were given a session.")
	refreshed      = describe("refreshed_total", "Sessions that were replaced by one of a newer token.")
	ended          = describe("sessions_ended_total", "Sessions that the server ended, by reason.", "reason")
	refused        = describe("refused_total", "Clients that were refused, by what they were told and the option that it was due to.", "code", "message", "by")
	early          = describe("early_events_total", "Events that were dropped because their socket was not authenticated yet.")
	packetsRefused = describe("packets_refused_total", "Clients that were disconnected for what they sent, by reason.", "reason")
	requests       = describe("requests_refused_total", "Requests that no connection came of: of an unknown version, of an unknown session, of a foreign origin.", "reason")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("socketiojwt_"+name, help, labels, nil)
}

var allDescs = []*prometheus.Desc{
	active, pending, pendingOfHost, connections, outbox, authenticated, refreshed, ended, refused, early, packetsRefused, requests,
}

func (c collector) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range allDescs {
		descs <- desc
	}
}

func (c collector) Collect(metrics chan<- prometheus.Metric) {
	stats := c.auth.Stats() // once, so that the numbers belong together
	gauge := func(desc *prometheus.Desc, n int, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(n), labels...)
	}
	count := func(desc *prometheus.Desc, n uint64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(active, stats.Active)
	gauge(pending, stats.Pending)
	gauge(pendingOfHost, stats.PendingOfOneHost)
	for kind, n := range stats.Connections {
		gauge(connections, n, strconv.Itoa(kind.EIO), kind.Transport)
	}
	gauge(outbox, stats.OutboxBytes)
	count(authenticated, stats.Authenticated)
	count(refreshed, stats.Refreshed)
	count(ended, stats.Expired, "expired")
	count(ended, stats.Revoked, "revoked")
	count(ended, stats.Replaced, "replaced")
	count(ended, stats.Disconnected, "disconnected")
	for refusal, n := range stats.Refusals {
		count(refused, n, refusal.Code, refusal.Message, refusal.By)
	}
	count(requests, stats.UnknownVersions, "version")
	count(requests, stats.UnknownSessions, "session")
	count(requests, stats.RefusedOrigins, "origin")
	count(early, stats.EarlyEvents)
	for reason, n := range stats.PacketsRefused {
		count(packetsRefused, n, reason)
	}
}
