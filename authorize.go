package socketiojwt

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Authorizer authenticates the clients of one or more namespaces. [Authorize] makes one. It is safe
// for concurrent use.
type Authorizer struct {
	opts   Options // normalised
	log    *slog.Logger
	parser *jwt.Parser
	static map[string]any // the keys of a StaticSecret by algorithm; nil for any other Secret

	leeway time.Duration // of ParserOptions
	waits  bool          // verify calls functions that may block
	calls  places        // for callbacks that run, see call

	registry   registry
	stats      stats
	places     places      // for sockets in protected namespaces that are not authenticated yet
	unfinished waitGroup   // sockets whose onDisconnect has not returned
	unhardened sync.Once   // warnNotHardened
	otherUser  sync.Once   // warnOtherUser
	untold     atomic.Bool // whether other nodes were not told of the last new session
	ungated    sync.Once   // warnNoGate
	strangers  sync.Once   // warnUnregistered
	unhijacked sync.Once   // warnNotHijacked
	notices    notices
	outage     outage // of Revocations
}

// Request describes a client, in the same way in both modes: how it opened its connection and what
// it asks for now. Treat it as read-only.
type Request struct {
	// Namespace is the namespace that the client is authenticated for, "/" for the root. It is ""
	// for a plain HTTP request (see Middleware).
	Namespace string
	// SessionID is the id of the connection, "" as long as there is none. Whoever knows it can take the
	// connection over: do not log it.
	SessionID string
	// RemoteAddr is the client's network address as net/http gives it.
	RemoteAddr string
	// URL is the URL of the request that opened the connection. Its query may hold a token. For a
	// connection that was opened before its client was authenticated, URL and Header have what fits
	// into 6 KiB with the token, or into 1.5 KiB beside a large token, the shortest parameters and
	// fields first.
	URL *url.URL
	// Header is the header of the request that opened the connection. It may hold a token.
	Header http.Header
	// Auth is the value of the `auth` option of a client 3.x or 4.x for this namespace, as valid
	// JSON. It may hold a token. nil: the client sent none, as older clients do. Of a client that
	// waits or is a guest, one of more than 1 KiB is not kept.
	Auth json.RawMessage
}

// String says which client asks for which namespace. It shows neither tokens nor headers.
func (r Request) String() string {
	return fmt.Sprintf("request from %s for namespace %q", r.RemoteAddr, r.Namespace)
}

// Format prints String, whatever the verb.
func (r Request) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, r.String()) }

// MarshalText returns String, for logs in JSON.
func (r Request) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// LogValue returns what String says, for log/slog.
func (r Request) LogValue() slog.Value {
	return slog.GroupValue(slog.String("remote", r.RemoteAddr), slog.String("namespace", r.Namespace))
}

// Authorize checks opts and returns an [Authorizer] that works by them. An error names the field of
// [Options] that is wrong and says what to do.
func Authorize(opts Options) (*Authorizer, error) {
	opts, err := opts.normalise()
	if err != nil {
		return nil, err
	}
	a := &Authorizer{
		places: places{most: opts.MaxPending},
		calls:  places{most: max(opts.MaxPending, minCallbacks)},
		opts:   opts,
		log:    opts.Logger,
		parser: jwt.NewParser(opts.ParserOptions...),
		leeway: leewayOf(opts.ParserOptions),
		stats:  newStats(),
	}
	a.registry.first = make(map[sessionKey]*connection)
	if a.log == nil {
		a.log = slog.New(slog.DiscardHandler)
	}
	if s, ok := opts.Secret.(*staticSecret); ok {
		a.static = s.byAlgorithm()
		for _, key := range s.keys {
			if why := weakness(key); why != "" {
				a.log.Warn("socketiojwt: weak key in Secret", "reason", why)
			}
		}
	}
	a.waits = a.static == nil || opts.Accept != nil || opts.Revocations != nil
	if opts.Revocations != nil {
		opts.Revocations.Watch(a.revoked)
	}
	return a, nil
}

// verified is a token that was found good, and what was read from it.
type verified struct {
	raw       string
	token     *jwt.Token
	user      any
	issuer    string
	subject   string
	identity  string
	tokenID   string // read where there are Revocations, as sid and issuedAt
	sid       string
	issuedAt  *jwt.NumericDate
	expiresAt time.Time
	parsedAt  time.Time // a moment before it was
	change    uint64    // registry.change when the token was last checked for revocation
}

// bearer returns what revocations go by.
func (v *verified) bearer() bearer {
	claims := &jwt.RegisteredClaims{Issuer: v.issuer, ID: v.tokenID, Subject: v.subject, IssuedAt: v.issuedAt}
	if !v.expiresAt.IsZero() {
		claims.ExpiresAt = jwt.NewNumericDate(v.expiresAt)
	}
	return bearer{claims, v.identity, v.sid}
}

// readIDs returns the `jti` and the `sid`, for which jwt.Claims has no methods. A `sid` that is no
// text counts as none, because only OpenID Connect says what the claim means.
func (v *verified) readIDs() (tokenID, sid string, err error) {
	if claims, isMap := asMap(v.token.Claims); isMap {
		sid, _ = claims["sid"].(string)
		tokenID, err = textOf(claims["jti"])
		return tokenID, sid, err
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.Split(v.raw, ".")[1], "="))
	if err != nil {
		return "", "", err
	}
	// A struct and no map: other claims may be of what only their own types can read, such as a
	// number too large for a float64.
	var claims struct {
		ID  any `json:"jti"`
		SID any `json:"sid"`
	}
	if err := json.Unmarshal(payload, &claims); err != nil {
		return "", "", err
	}
	sid, _ = claims.SID.(string)
	tokenID, err = textOf(claims.ID)
	return tokenID, sid, err
}

// verify is the one way a token is accepted, wherever it came from. What it cannot decide is
// refused. It ends with ctx, also if a callback of the application ignores ctx.
func (a *Authorizer) verify(ctx context.Context, r *Request, raw string) (*verified, *UnauthorizedError) {
	if len(raw) > a.opts.MaxTokenBytes {
		return nil, errTokenTooLong()
	}
	// golang-jwt splits the token too, but Node tells these cases apart before it reads.
	_, rest, _ := strings.Cut(raw, ".")
	payload, signature, ok := strings.Cut(rest, ".")
	if !ok || strings.Contains(signature, ".") {
		return nil, errMalformed(nil)
	}
	if strings.TrimSpace(signature) == "" {
		return nil, errSignatureRequired()
	}
	names, err := readNames(payload)
	if err != nil {
		return nil, errMalformed(err)
	}

	v, refusal := a.parse(ctx, r, raw, signature, names)
	if refusal == nil {
		refusal = a.identify(ctx, r, v)
	}
	if refusal == nil {
		refusal = a.checkRevoked(ctx, r, v)
	}
	if refusal != nil {
		return nil, refusal
	}
	if a.opts.Accept == nil {
		return v, nil
	}
	user, err := a.call(ctx, r.RemoteAddr, func() (any, error) { return a.opts.Accept(ctx, r, v.token) })
	if err != nil {
		return nil, a.callbackRefusal(ctx, r, "Accept", err, notAccepted(err))
	}
	v.user = user
	return v, nil
}

// checkRevoked asks the application's Revocations.
func (a *Authorizer) checkRevoked(ctx context.Context, r *Request, v *verified) *UnauthorizedError {
	v.change = a.registry.changes()
	if a.opts.Revocations == nil {
		return nil
	}
	revoked, err := a.call(ctx, r.RemoteAddr, func() (any, error) {
		b := v.bearer()
		return a.opts.Revocations.Revoked(context.WithValue(ctx, verifiedKey{}, v), b.RegisteredClaims)
	})
	if err != nil {
		return a.callbackRefusal(ctx, r, "Revocations", err, errServerBusy(err))
	}
	a.answered()
	if revoked != false { // also what is no bool
		return errTokenRevoked().dueTo("Revocations")
	}
	return nil
}

// parse does all that needs the token decoded. The token is decoded once, unless one of its dates
// is far away. The type of the claims is the application's code and runs in here, hence the
// recover.
func (a *Authorizer) parse(ctx context.Context, r *Request, raw, signature string, names claimNames) (v *verified, refusal *UnauthorizedError) {
	defer func() {
		if p := recover(); p != nil {
			err := newPanicError(p)
			v, refusal = nil, a.callbackRefusal(ctx, r, "NewClaims", err, errUnauthorized(err))
		}
	}()

	claims := a.opts.NewClaims()
	if !decodable(claims) {
		return nil, a.callbackRefusal(ctx, r, "NewClaims", errNoClaims, errUnauthorized(errNoClaims))
	}
	if _, isMap := asMap(claims); names.folded && !isMap {
		return nil, errMalformed(errFolded)
	}

	keyAsked, parsedAt := false, time.Now()
	token, err := a.parser.ParseWithClaims(raw, claims, func(token *jwt.Token) (any, error) {
		keyAsked = true
		if refusal = a.decodeBounded(names.bounded, claims); refusal != nil {
			return nil, refusal
		}
		var key any
		if key, refusal = a.key(ctx, r, token, signature); refusal != nil {
			return nil, refusal
		}
		return key, nil
	})
	switch {
	case refusal != nil:
		return nil, refusal
	case err == nil:
		return a.readClaims(raw, token, parsedAt)
	case errors.Is(err, jwt.ErrTokenMalformed):
		a.warnMisfit(r, err)
		return nil, errMalformed(err)
	case token == nil || token.Header == nil: // the header is JSON's null
		return nil, errMalformed(err)
	case !keyAsked: // no or an unknown alg, or not in the jwt.WithValidMethods of ParserOptions
		return nil, errInvalidAlgorithm(err)
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		return nil, errClaims(err)
	}
	return nil, errInvalidSignature(err)
}

// decodeBounded decodes the claims once more where dates were bounded. From then on golang-jwt and
// the callbacks see the dates that the token is judged by, whatever the type of the claims.
func (a *Authorizer) decodeBounded(payload []byte, claims jwt.Claims) *UnauthorizedError {
	if payload == nil {
		return nil
	}
	const header = "eyJhbGciOiJIUzI1NiJ9." // {"alg":"HS256"}, which the parser requires
	if _, _, err := a.parser.ParseUnverified(header+base64.RawURLEncoding.EncodeToString(payload)+".", claims); err != nil {
		return errMalformed(err)
	}
	return nil
}

var errNoClaims = errors.New("NewClaims returned nothing that can be decoded into; return a new pointer or jwt.MapClaims{}")

// decodable reports whether golang-jwt can decode claims into c and then sees them. With a nil map
// it cannot, and would take the token for one without claims.
func decodable(c jwt.Claims) bool {
	return c != nil && isMapOrPointer(c) && !reflect.ValueOf(c).IsNil()
}

// key returns what verifies token: a key, or a set of keys, that fits the token's algorithm.
func (a *Authorizer) key(ctx context.Context, r *Request, token *jwt.Token, signature string) (any, *UnauthorizedError) {
	// RFC 7515 §4.1.11: a token with a critical extension that is not understood must be refused.
	// This package understands none.
	if _, ok := token.Header["crit"]; ok {
		return nil, errInvalidAlgorithm(nil)
	}
	// The algorithm is read here, once: what a callback does to its token must not matter.
	alg := token.Method.Alg()
	if !slices.Contains(a.opts.Methods, alg) {
		return nil, errInvalidAlgorithm(nil)
	}

	var key any
	if a.static != nil {
		key = a.static[alg]
	} else {
		keys, refusal := a.lookUp(ctx, r, token)
		if refusal != nil {
			return nil, refusal
		}
		key = fittingKey(keys, alg)
	}
	if key == nil {
		return nil, errInvalidAlgorithm(nil)
	}

	// base64 ignores up to four bits and all line breaks. As in Node, a signature is good only as
	// it was written, so that one token is one string.
	var buf [1024]byte
	canonical := base64.RawURLEncoding.AppendEncode(buf[:0], token.Signature)
	if string(canonical) != strings.TrimRight(signature, "=") {
		return nil, errInvalidSignature(nil)
	}
	return key, nil
}

// lookUp asks the application's Secret.
func (a *Authorizer) lookUp(ctx context.Context, r *Request, token *jwt.Token) ([]any, *UnauthorizedError) {
	unverified := *token
	unverified.Header = maps.Clone(token.Header)
	unverified.Signature = bytes.Clone(token.Signature)
	if claims, ok := token.Claims.(jwt.MapClaims); ok {
		unverified.Claims = maps.Clone(claims)
	}

	given, err := a.call(ctx, r.RemoteAddr, func() (any, error) { return a.opts.Secret.Key(ctx, r, &unverified) })
	switch {
	case errors.Is(err, ErrKeyNotFound):
		return nil, errInvalidSignature(err).dueTo("Secret")
	case errors.Is(err, errTooManyCallbacks):
		return nil, a.callbackRefusal(ctx, r, "Secret", err, errServerBusy(err))
	case err != nil:
		return nil, a.callbackRefusal(ctx, r, "Secret", err, errSecretUnavailable(err))
	}
	keys, err := parseKeys(given)
	if err != nil {
		a.logFailure(ctx, r, "Secret", err)
	}
	if len(keys) == 0 {
		return nil, errSecretUnavailable(err).dueTo("Secret")
	}
	return keys, nil
}

// readClaims takes what a Session needs from the claims. Its caller catches a panic in them.
func (a *Authorizer) readClaims(raw string, token *jwt.Token, parsedAt time.Time) (*verified, *UnauthorizedError) {
	v := &verified{raw: raw, token: token, parsedAt: parsedAt}

	exp, err := token.Claims.GetExpirationTime()
	if err != nil {
		return nil, errMalformed(err)
	}
	claims, isMap := asMap(token.Claims)
	if exp != nil {
		v.expiresAt = exp.Time
	} else if _, present := claims["exp"]; present {
		// golang-jwt takes 0 in a map for "no exp". 0 is a date in 1970.
		return nil, errTokenExpired(nil)
	}

	v.subject, err = token.Claims.GetSubject()
	if err != nil && isMap {
		v.subject, err = textOf(claims["sub"])
	}
	if err == nil {
		if v.issuer, err = token.Claims.GetIssuer(); err != nil && isMap {
			v.issuer, err = textOf(claims["iss"])
		}
	}
	if err == nil && a.opts.Revocations != nil {
		if v.tokenID, v.sid, err = v.readIDs(); err == nil {
			v.issuedAt, err = token.Claims.GetIssuedAt()
		}
	}
	if err != nil {
		return nil, errMalformed(err)
	}
	return v, nil
}

func asMap(claims jwt.Claims) (jwt.MapClaims, bool) {
	switch claims := claims.(type) {
	case jwt.MapClaims:
		return claims, true
	case *jwt.MapClaims:
		return *claims, true
	}
	return nil, false
}

// textOf returns a claim that has to be text. A number is taken for its decimal text: tokens with
// such a `sub` are common, and Node takes them. To treat all of them as tokens without `sub` would
// make different users the same. So would numbers that a float64 has rounded, and those are an
// error.
func textOf(claim any) (string, error) {
	switch c := claim.(type) {
	case nil:
		return "", nil
	case string:
		return c, nil
	case float64:
		if math.Abs(c) >= 1<<53 {
			return "", errors.New("a claim that must be text is a number too large to be exact; see jwt.WithJSONNumber")
		}
		return strconv.FormatFloat(c, 'f', -1, 64), nil
	case json.Number:
		return c.String(), nil
	}
	return "", fmt.Errorf("a claim that must be text is a %T", claim)
}
