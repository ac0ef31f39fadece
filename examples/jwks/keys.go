package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/MicahParks/keyfunc/v3"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// lookupTime is how long one request to the issuer may take. It is shorter than Options.Timeout,
// so that a client is told before its time is over.
const lookupTime = 3 * time.Second

// issuerKeys are the keys that an issuer publishes. They are safe for concurrent use.
type issuerKeys struct {
	issuer  string
	ctx     context.Context // of what follows the keys
	client  *http.Client
	looks   *rate.Limiter
	looking sync.Mutex
	found   atomic.Pointer[keyfunc.Keyfunc] // nil: not discovered yet
}

// followIssuer reads the discovery document of the issuer (OpenID Connect Discovery 1.0 §4) and follows
// the keys that it names, until ctx ends. A document of another issuer is an error, and so is a URL
// without TLS that leaves this machine: who can change the document or the keys on the way can sign
// tokens.
//
// An issuer that is down is no error, at start or later: the keys that are known stay good, and
// clients with other keys are told `invalid_secret`, on which they try again. followIssuer blocks for
// two requests, at most 6 seconds.
//
// Anybody can send tokens with a `kid` that does not exist, and each makes it look for new keys.
// So looks bounds how often that happens, for all clients together.
func followIssuer(ctx context.Context, issuer string, looks *rate.Limiter) (*issuerKeys, error) {
	client := &http.Client{Timeout: lookupTime, CheckRedirect: safeRedirect}
	k := &issuerKeys{issuer: issuer, ctx: ctx, client: client, looks: looks}
	if err := k.discover(); errors.Is(err, errWrong) {
		return nil, err
	}
	return k, nil
}

// find returns the key of a token, for [socketiojwt.Keyfunc]. It blocks while it asks the
// issuer, and is not tied to the context of one client: others wait for the same keys.
func (k *issuerKeys) find(token *jwt.Token) (any, error) {
	if k.found.Load() == nil && k.looks.Allow() {
		_ = k.discover() // it has said why
	}
	if found := k.found.Load(); found != nil {
		return (*found).Keyfunc(token)
	}
	return nil, errors.New("the keys of the issuer are not known yet")
}

// errWrong is what no second try mends.
var errWrong = errors.New("the issuer cannot be used")

// discover finds out where the keys are, and reads them. While one caller does, the others go
// without.
func (k *issuerKeys) discover() error {
	if !k.looking.TryLock() {
		return nil
	}
	defer k.looking.Unlock()
	if k.found.Load() != nil {
		return nil
	}
	keys, err := k.read()
	if err != nil {
		log.Printf("discovery: %v", err)
		return err
	}
	k.found.Store(&keys)
	return nil
}

func (k *issuerKeys) read() (keyfunc.Keyfunc, error) {
	if !isSafe(k.issuer) {
		return nil, fmt.Errorf("%w: %q is no https URL", errWrong, k.issuer)
	}
	provider, err := oidc.NewProvider(oidc.ClientContext(k.ctx, k.client), k.issuer)
	var other *oidc.IssuerMismatchError
	switch {
	case errors.As(err, &other):
		return nil, fmt.Errorf("%w: %w", errWrong, err)
	case err != nil:
		return nil, err
	}
	var document struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&document); err != nil {
		return nil, err
	}
	if !isSafe(document.Keys) {
		return nil, fmt.Errorf("%w: its jwks_uri %q is no https URL", errWrong, document.Keys)
	}
	return keyfunc.NewDefaultOverrideCtx(k.ctx, []string{document.Keys}, keyfunc.Override{
		Client:            k.client,
		HTTPTimeout:       lookupTime,
		RateLimitWaitMax:  lookupTime,
		RefreshInterval:   5 * time.Minute, // after which a key that was withdrawn is good no more
		RefreshUnknownKID: k.looks,
	})
}

func safeRedirect(r *http.Request, before []*http.Request) error {
	if !isSafe(r.URL.String()) || len(before) > 3 {
		return fmt.Errorf("it redirects to %s", r.URL)
	}
	return nil
}

// isSafe reports whether nobody between here and there can change what is read.
func isSafe(raw string) bool {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && net.ParseIP(u.Hostname()).IsLoopback()
}
