package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/MicahParks/jwkset"
	"github.com/golang-jwt/jwt/v5"
)

// provider stands for an identity provider: its Handler serves its discovery document, its keys and
// its tokens. It gives everybody the token they ask for, so it is for trying things out, and for
// nothing else.
type provider struct {
	http.Handler
	issuer, audience, clientID string

	mu        sync.Mutex
	signer    *rsa.PrivateKey
	kid       int
	published *jwkset.MemoryJWKSet
}

// startProvider starts a provider on this machine, until the program ends, and returns its URL, which is
// the `iss` of its tokens.
func startProvider(audience, clientID string) (p *provider, issuer string, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	issuer = "http://" + listener.Addr().String()
	if p, err = newProvider(issuer, audience, clientID); err != nil {
		return nil, "", err
	}
	go http.Serve(listener, p)
	return p, issuer, nil
}

// newProvider makes a provider that is served by somebody else, at the URL issuer. Its tokens are for
// audience, and its logout tokens for clientID.
func newProvider(issuer, audience, clientID string) (*provider, error) {
	p := &provider{issuer: issuer, audience: audience, clientID: clientID, published: jwkset.NewMemoryStorage()}
	if err := p.Rotate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		document, err := json.Marshal(map[string]any{"issuer": issuer, "jwks_uri": issuer + "/jwks.json"})
		answer(w, "application/json", string(document), err)
	})
	mux.HandleFunc("GET /jwks.json", func(w http.ResponseWriter, r *http.Request) {
		keys, err := p.published.JSONPublic(r.Context())
		answer(w, "application/json", string(keys), err)
	})
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		token, err := p.Token(r.URL.Query().Get("sub"), sid(r))
		answer(w, "text/plain", token, err)
	})
	mux.HandleFunc("POST /logout-token", func(w http.ResponseWriter, r *http.Request) {
		token, err := p.LogoutToken(r.URL.Query().Get("sub"), sid(r))
		answer(w, "text/plain", token, err)
	})
	mux.HandleFunc("POST /rotate", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, "text/plain", "", p.Rotate())
	})
	p.Handler = mux
	return p, nil
}

func answer(w http.ResponseWriter, kind, text string, err error) {
	if err != nil {
		http.Error(w, "that failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	fmt.Fprint(w, text)
}

// Rotate signs with a new key from now on. The one before stays published, for the tokens that
// are still around, and the one before that goes.
func (p *provider) Rotate() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kid++
	jwk, err := jwkset.NewJWKFromKey(key.Public(), jwkset.JWKOptions{Metadata: jwkset.JWKMetadataOptions{
		KID: strconv.Itoa(p.kid), ALG: jwkset.AlgRS256, USE: jwkset.UseSig,
	}})
	if err != nil {
		return err
	}
	ctx := context.Background()
	if err := p.published.KeyWrite(ctx, jwk); err != nil {
		return err
	}
	p.signer = key
	_, err = p.published.KeyDelete(ctx, strconv.Itoa(p.kid-2))
	return err
}

// change changes the header and the claims of a token before it is signed. nil changes nothing.
type change func(*jwt.Token, jwt.MapClaims)

// sid gives tokens the `sid` of a request, if it has one.
func sid(r *http.Request) change {
	return func(_ *jwt.Token, claims jwt.MapClaims) {
		if sid := r.URL.Query().Get("sid"); sid != "" {
			claims["sid"] = sid
		}
	}
}

// Token signs a token for sub.
func (p *provider) Token(sub string, edit change) (string, error) {
	now := time.Now()
	return p.sign("JWT", jwt.MapClaims{
		"iss": p.issuer, "aud": p.audience, "sub": sub, "iat": now.Unix(), "exp": now.Add(15 * time.Minute).Unix(),
	}, edit)
}

// LogoutToken signs a logout token for sub (OpenID Connect Back-Channel Logout 1.0 §2.4).
func (p *provider) LogoutToken(sub string, edit change) (string, error) {
	now := time.Now()
	return p.sign("logout+jwt", jwt.MapClaims{
		"iss": p.issuer, "aud": p.clientID, "sub": sub, "iat": now.Unix(), "exp": now.Add(2 * time.Minute).Unix(),
		"jti": rand.Text(), "events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, edit)
}

func (p *provider) sign(typ string, claims jwt.MapClaims, edit change) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = strconv.Itoa(p.kid)
	token.Header["typ"] = typ
	if edit != nil {
		edit(token, claims)
	}
	return token.SignedString(p.signer)
}
