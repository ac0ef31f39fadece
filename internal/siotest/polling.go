package siotest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// openPolling makes the handshake by polling and starts the loop.
func (c *Client) openPolling(ctx context.Context) error {
	packets, resp, err := c.get(ctx, "handshake")
	if err != nil {
		return err
	}
	if len(packets) == 0 {
		return fmt.Errorf("siotest: handshake: no packets, HTTP status %d", resp.StatusCode)
	}
	if err := c.handshake(packets[0]); err != nil {
		return err
	}
	c.deliverPoll(packets[1:])
	if !c.o.ManualPoll {
		c.startPolling()
	}
	return nil
}

// handshake takes the OPEN packet.
func (c *Client) handshake(p EnginePacket) error {
	if p.Type != EngineOpen || p.Binary {
		return fmt.Errorf("siotest: handshake: %.200s in place of OPEN", p)
	}
	if err := json.Unmarshal(p.Data, &c.open); err != nil {
		return fmt.Errorf("siotest: handshake: %.200s: %w", p, err)
	}
	if c.open.SID == "" {
		return fmt.Errorf("siotest: handshake without sid: %.200s", p)
	}
	return nil
}

// Poll makes one poll. Its packets are returned and wait for Next too. Beside the client's own loop
// this is the overlapping poll of a hostile client. The answer's body can be read again, and
// there is one also with a *StatusError. Poll works until Close or Abort, so also after the
// server has closed; it never closes the client unless a CLOSE packet comes.
func (c *Client) Poll(ctx context.Context) ([]EnginePacket, *http.Response, error) {
	c.beginPoll(false)
	defer c.endPoll()
	return c.poll(ctx)
}

func (c *Client) poll(ctx context.Context) ([]EnginePacket, *http.Response, error) {
	packets, resp, err := c.get(ctx, "poll")
	c.deliverPoll(packets)
	return packets, resp, err
}

// deliverPoll queues packets. Nothing counts after a CLOSE.
func (c *Client) deliverPoll(packets []EnginePacket) {
	for _, p := range packets {
		c.deliver(p)
		if p.Type == EngineClose {
			c.finish(ReasonServerClose, nil)
			return
		}
	}
}

func (c *Client) startPolling() {
	c.mu.Lock()
	start := !c.looping
	c.looping = true
	c.mu.Unlock()
	if start {
		c.spawn(c.pollLoop)
	}
}

func (c *Client) pollLoop() {
	for c.beginPoll(true) {
		_, _, err := c.poll(c.ctx)
		if err != nil {
			reason := ReasonPollError
			if errors.Is(err, errPayload) {
				reason = ReasonParseError
			}
			c.finish(reason, err)
		}
		c.endPoll()
	}
}

// beginPoll counts a poll in. The loop's own poll is refused when the loop is to end.
func (c *Client) beginPoll(loop bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if loop && (c.paused || c.reason != "" || c.goodbye != "") {
		c.looping = false
		return false
	}
	c.polls++
	return true
}

func (c *Client) endPoll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.polls--
	if c.polls == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// pausePolling stops the loop and waits for polls under way.
func (c *Client) pausePolling(ctx context.Context) error {
	c.mu.Lock()
	c.paused = true
	if c.polls == 0 {
		c.mu.Unlock()
		return nil
	}
	if c.idle == nil {
		c.idle = make(chan struct{})
	}
	idle := c.idle
	c.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return c.ended(ctx)
	}
}

func (c *Client) resumePolling() {
	c.mu.Lock()
	c.paused = false
	c.mu.Unlock()
	if !c.o.ManualPoll {
		c.startPolling()
	}
}

// errPayload marks an answer that could not be parsed.
var errPayload = errors.New("siotest: bad payload")

func (c *Client) get(ctx context.Context, op string) ([]EnginePacket, *http.Response, error) {
	resp, body, err := c.request(ctx, http.MethodGet, "", nil)
	if err != nil {
		return nil, nil, fmt.Errorf("siotest: %s: %w", op, err)
	}
	if resp.StatusCode != http.StatusOK {
		return nil, resp, statusError(op, resp, string(body))
	}
	packets, err := c.decode(resp, body)
	if err != nil {
		err = fmt.Errorf("%w: %w", errPayload, err)
	}
	return packets, resp, err
}

func (c *Client) decode(resp *http.Response, body []byte) ([]EnginePacket, error) {
	contentType, text := resp.Header.Get("Content-Type"), string(body)
	if c.o.JSONP && !strings.HasPrefix(contentType, "application/octet-stream") {
		j := "0"
		if v := c.o.Query["j"]; len(v) > 0 {
			j = v[0]
		}
		var err error
		if text, err = DecodeJSONP(j, text); err != nil {
			return nil, err
		}
	}
	return c.version.decodePayload(contentType, text)
}

// post sends packets as one payload.
func (c *Client) post(ctx context.Context, frames []Frame) error {
	contentType, body := c.version.encodePayload(frames, c.textOnly("polling"))
	if c.o.JSONP {
		contentType, body = "application/x-www-form-urlencoded", EncodeJSONPForm(body)
	}
	resp, answer, err := c.request(ctx, http.MethodPost, contentType, strings.NewReader(body))
	if err != nil {
		if c.ctx.Err() != nil {
			return ErrClosed
		}
		return fmt.Errorf("siotest: post: %w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return statusError("post", resp, string(answer))
	}
	return nil
}

// PostRaw posts any body, also while other requests are under way and after the server has closed.
// The answer's body is read already and can be read again.
func (c *Client) PostRaw(contentType string, body io.Reader) (*http.Response, error) {
	resp, _, err := c.request(c.ctx, http.MethodPost, contentType, body)
	if err != nil {
		return nil, fmt.Errorf("siotest: post: %w", err)
	}
	return resp, nil
}

// request makes one request of polling. It ends with ctx, Close and Abort.
func (c *Client) request(ctx context.Context, method, contentType string, body io.Reader) (*http.Response, []byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	req, err := http.NewRequestWithContext(ctx, method, c.url("polling"), body)
	if err != nil {
		return nil, nil, err
	}
	for k, v := range c.o.Header {
		req.Header[http.CanonicalHeaderKey(k)] = v
	}
	if host := req.Header.Get("Host"); host != "" {
		req.Host = host
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(data))
	return resp, data, nil
}

func statusError(op string, resp *http.Response, body string) *StatusError {
	return &StatusError{Op: op, Status: resp.StatusCode, Header: resp.Header, Body: body}
}
