package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/servetest"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/time/rate"
)

// list is a list of revocations that may be out of order.
type list struct {
	*socketiojwt.MemoryRevocations
	broken atomic.Bool
}

func (l *list) Add(ctx context.Context, r socketiojwt.Revocation) error {
	if l.broken.Load() {
		return errors.New("no list today")
	}
	return l.MemoryRevocations.Add(ctx, r)
}

// world is a provider, and a server for its users.
type world struct {
	*testing.T
	*provider
	issuer, url string
	list        *list
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{T: t, list: &list{MemoryRevocations: socketiojwt.NewMemoryRevocations()}}
	var own http.Handler
	endpoint := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { own.ServeHTTP(rw, r) }))
	t.Cleanup(endpoint.Close)
	w.issuer = endpoint.URL
	var err error
	if w.provider, err = newProvider(endpoint.URL, "chat", "chat-web"); err != nil {
		t.Fatal(err)
	}
	own = w.provider
	keys, err := followIssuer(t.Context(), endpoint.URL, rate.NewLimiter(rate.Inf, 0))
	if err != nil {
		t.Fatal(err)
	}
	sio, handler, err := newServer(keys.find, config{endpoint.URL, "chat", "chat-web"}, w.list)
	if err != nil {
		t.Fatal(err)
	}
	w.url = servetest.Start(t, sio, handler)
	return w
}

func set(name string, value any) change {
	return func(_ *jwt.Token, c jwt.MapClaims) { c[name] = value }
}

func without(name string) change {
	return func(_ *jwt.Token, c jwt.MapClaims) { delete(c, name) }
}

func all(changes ...change) change {
	return func(t *jwt.Token, c jwt.MapClaims) {
		for _, change := range changes {
			change(t, c)
		}
	}
}

func (w world) token(sub, sid string, changes ...change) string {
	w.Helper()
	raw, err := w.Token(sub, all(append(changes, set("sid", sid))...))
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

func (w world) logoutToken(sub string, changes ...change) string {
	w.Helper()
	raw, err := w.LogoutToken(sub, all(changes...))
	if err != nil {
		w.Fatal(err)
	}
	return raw
}

// connect connects a client of either version.
func (w world) connect(version int, raw string) siotest.Must {
	w.Helper()
	c := siotest.MustDial(w, w.url, siotest.Options{Version: version, Transport: "websocket", Query: url.Values{"token": {raw}}})
	must := c.Must(w)
	if version == 4 {
		must.Join("/")
	}
	return must
}

func (w world) enter(raw string) siotest.Must {
	w.Helper()
	must := w.connect(4, raw)
	must.Event("/", "welcome")
	return must
}

func (w world) refuses(raw, message string) {
	w.Helper()
	if got, _ := w.connect(4, raw).Refused("/"); got != message {
		w.Errorf("%q, want %q", got, message)
	}
}

// stays requires that nobody has sent a client away.
func (w world) stays(must siotest.Must, raw string) {
	w.Helper()
	must.Emit("/", "authenticate", map[string]string{"token": raw})
	must.NextRaw(`42["authenticated"]`)
}

// isOut requires that a client was told of the log-out, and sent away.
func (w world) isOut(must siotest.Must) {
	w.Helper()
	_, args := must.Event("/", "unauthorized").Event()
	if len(args) != 1 || string(args[0]) != loggedOut {
		w.Errorf("told %s", args)
	}
	must.NextRaw("41")
}

// post posts a form, and returns the status and the error_description.
func (w world) post(body string) (int, string) {
	w.Helper()
	response, err := http.Post(w.url+"/backchannel-logout", "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		w.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.Fatal(err)
	}
	if got := response.Header.Get("Cache-Control"); got != "no-store" {
		w.Errorf("Cache-Control: %s", got)
	}
	if response.StatusCode == http.StatusOK {
		if len(text) > 0 {
			w.Errorf("200 with %s", text)
		}
		return http.StatusOK, ""
	}
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || answer.Error != "invalid_request" || response.Header.Get("Content-Type") != "application/json" {
		w.Errorf("%v %s", response.Header, text)
	}
	return response.StatusCode, answer.Description
}

func (w world) logout(raw string) (int, string) {
	w.Helper()
	return w.post(url.Values{"logout_token": {raw}, "other": {"is ignored"}}.Encode())
}

func (w world) logsOut(raw string) {
	w.Helper()
	if status, why := w.logout(raw); status != http.StatusOK {
		w.Fatalf("%d %s", status, why)
	}
}

const loggedOut = `{"message":"you have logged out","data":{"message":"you have logged out","code":"logged_out","type":"UnauthorizedError"}}`

func TestLogoutOfOneSession(t *testing.T) {
	t.Parallel()
	for _, version := range []int{3, 4} {
		w := newWorld(t)
		here := w.connect(version, w.token("red", "1"))
		here.Event("/", "welcome")
		refreshed := w.enter(w.token("red", "2"))
		refreshed.Emit("/", "authenticate", map[string]string{"token": w.token("red", "1")})
		refreshed.Event("/", "authenticated")
		elsewhere := w.enter(w.token("red", "2"))
		other := w.enter(w.token("blue", "3"))

		w.logsOut(w.logoutToken("red", set("sid", "1")))
		for _, must := range []siotest.Must{here, refreshed} {
			w.isOut(must)
		}
		w.refuses(w.token("red", "1"), "jwt revoked")
		w.enter(w.token("red", "4"))
		w.stays(elsewhere, w.token("red", "2"))
		w.stays(other, w.token("blue", "3"))
	}
}

func TestLogoutOfAUser(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ago := func(d time.Duration) change { return set("iat", time.Now().Add(-d).Unix()) }
	reds := []siotest.Must{w.enter(w.token("red", "1", ago(time.Hour))), w.enter(w.token("red", "2", ago(time.Minute)))}
	other := w.enter(w.token("blue", "3", ago(time.Hour)))
	w.logsOut(w.logoutToken("red", ago(10*time.Second)))
	for _, must := range reds {
		w.isOut(must)
	}
	w.refuses(w.token("red", "1", ago(time.Minute)), "jwt revoked")
	w.enter(w.token("red", "4")) // logged in since then
	w.stays(other, w.token("blue", "3"))

	onlySID := w.enter(w.token("blue", "5"))
	w.logsOut(w.logoutToken("", without("sub"), set("sid", "5")))
	w.isOut(onlySID)
}

func TestLogoutTokensThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	red := w.enter(w.token("red", "1"))
	header := func(name string, value any) change {
		return func(token *jwt.Token, _ jwt.MapClaims) { token.Header[name] = value }
	}
	in := func(d time.Duration) int64 { return time.Now().Add(d).Unix() }
	event := func(value any) change {
		return set("events", map[string]any{logoutEvent: value})
	}
	const ofAnother = "the claims of the logout token are not those of a logout of this client"
	for name, test := range map[string]struct {
		change change
		want   string
	}{
		"another issuer":       {set("iss", "https://other.example"), ofAnother},
		"no issuer":            {without("iss"), ofAnother},
		"another client":       {set("aud", "mail"), ofAnother},
		"for a session":        {set("aud", "chat"), ofAnother},
		"no audience":          {without("aud"), ofAnother},
		"expired":              {set("exp", in(-leeway-time.Second)), ofAnother},
		"no expiry":            {without("exp"), ofAnother},
		"of the future":        {set("iat", in(leeway+10*time.Second)), ofAnother},
		"no iat":               {without("iat"), "iat is required"},
		"too old":              {set("iat", in(-maxAge-time.Second)), "iat is too long ago"},
		"no jti":               {without("jti"), "jti is required"},
		"nonce":                {set("nonce", "1"), "nonce is prohibited"},
		"empty nonce":          {set("nonce", ""), "nonce is prohibited"},
		"null nonce":           {set("nonce", nil), "nonce is prohibited"},
		"neither sub nor sid":  {without("sub"), "sub or sid is required"},
		"empty sid, no sub":    {all(without("sub"), set("sid", "")), "sub or sid is required"},
		"no events":            {without("events"), "events is not that of a logout"},
		"events is null":       {set("events", nil), "events is not that of a logout"},
		"another event":        {set("events", map[string]any{"http://schemas.example/event": map[string]any{}}), "events is not that of a logout"},
		"event is text":        {event("logout"), "events is not that of a logout"},
		"event is null":        {event(nil), "events is not that of a logout"},
		"events is a list":     {set("events", []string{logoutEvent}), "the logout token cannot be verified"},
		"sid is a number":      {set("sid", 1), "the logout token cannot be verified"},
		"access token":         {header("typ", "at+jwt"), "this is a token of another type"},
		"typ is no text":       {header("typ", 1), "this is a token of another type"},
		"critical header":      {all(header("crit", []string{"b64"}), header("b64", false)), "this is a token of another type"},
		"key of somebody else": {header("kid", "unknown"), "the logout token cannot be verified"},
		"algorithm": {func(token *jwt.Token, _ jwt.MapClaims) {
			token.Method, token.Header["alg"] = jwt.SigningMethodPS256, "PS256"
		}, "the logout token cannot be verified"},
	} {
		if status, why := w.logout(w.logoutToken("red", test.change)); status != http.StatusBadRequest || why != test.want {
			t.Errorf("%s: %d %s", name, status, why)
		}
	}
	good := w.logoutToken("red", set("sid", "1")) // by user, a token that is newer would be spared
	for name, raw := range map[string]string{
		"a session's token": w.token("red", "1", set("aud", "chat-web")), "nothing": "", "nonsense": "nonsense",
		"changed": good[:len(good)-8] + "AAAAAAAA", "none": strings.Join(strings.SplitAfter(good, ".")[:2], ""),
	} {
		if status, why := w.logout(raw); status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", name, status, why)
		}
	}
	stranger, err := newProvider(w.issuer, "chat", "chat-web")
	if err != nil {
		t.Fatal(err)
	}
	forged, err := stranger.LogoutToken("red", nil)
	if err != nil {
		t.Fatal(err)
	}
	if status, why := w.logout(forged); status != http.StatusBadRequest || why != "the logout token cannot be verified" {
		t.Errorf("forged: %d %s", status, why)
	}

	for name, body := range map[string]string{
		"no token": "", "another name": "token=" + good, "twice": "logout_token=" + good + "&logout_token=" + good,
		"no form": "%", "too long": "logout_token=" + good + "&x=" + strings.Repeat("x", maxBody),
	} {
		if status, why := w.post(body); status != http.StatusBadRequest || !strings.HasPrefix(why, "send one logout_token") {
			t.Errorf("%s: %d %s", name, status, why)
		}
	}
	for _, way := range []struct {
		method, path, kind string
		status             int
	}{
		{"GET", "?logout_token=" + good, "", 405},
		{"POST", "?logout_token=" + good, "application/x-www-form-urlencoded", 400},
		{"POST", "", "application/json", 400},
	} {
		r, err := http.NewRequest(way.method, w.url+"/backchannel-logout"+way.path, strings.NewReader(`{"logout_token":"`+good+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", way.kind)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != way.status {
			t.Errorf("%s %s: %d", way.method, way.kind, response.StatusCode)
		}
	}

	w.stays(red, w.token("red", "1"))
	w.logsOut(good)
	w.isOut(red)
}

func TestLogoutTokensThatAreAccepted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, change := range map[string]change{
		"typ JWT":         func(token *jwt.Token, _ jwt.MapClaims) { token.Header["typ"] = "JWT" },
		"no typ":          func(token *jwt.Token, _ jwt.MapClaims) { delete(token.Header, "typ") },
		"typ in full":     func(token *jwt.Token, _ jwt.MapClaims) { token.Header["typ"] = "application/logout+JWT" },
		"several clients": set("aud", []string{"mail", "chat-web"}),
		"several events":  set("events", map[string]any{logoutEvent: map[string]any{}, "other": 1}),
		"a clock behind":  set("iat", time.Now().Add(-time.Minute).Unix()),
		"a clock ahead":   set("iat", time.Now().Add(leeway/2).Unix()),
	} {
		red := w.enter(w.token("red", name))
		if status, why := w.logout(w.logoutToken("red", change, set("sid", name))); status != http.StatusOK {
			t.Errorf("%s: %d %s", name, status, why)
			continue
		}
		w.isOut(red)
	}
	if err := w.Rotate(); err != nil {
		t.Fatal(err)
	}
	w.logsOut(w.logoutToken("red"))
}

func TestALogoutTokenWorksOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := w.logoutToken("red", set("sid", "1"))
	w.list.broken.Store(true)
	if status, why := w.logout(raw); status != http.StatusBadRequest || !strings.HasSuffix(why, "try again") {
		t.Errorf("%d %s", status, why)
	}
	w.list.broken.Store(false)
	answers := make(chan int)
	for range 8 {
		go func() {
			status, _ := w.logout(raw)
			answers <- status
		}()
	}
	done := 0
	for range 8 {
		if <-answers == http.StatusOK {
			done++
		}
	}
	if done != 1 {
		t.Errorf("it worked %d times", done)
	}
	if status, why := w.logout(raw); status != http.StatusBadRequest || why != "this logout token was used before" {
		t.Errorf("%d %s", status, why)
	}
}

func TestUsedTokensAreForgotten(t *testing.T) {
	t.Parallel()
	var u used
	now := time.Now()
	for id, until := range map[string]time.Time{"past": now.Add(-time.Second), "later": now.Add(time.Hour)} {
		if !u.add(id, until) {
			t.Errorf("%s was never used", id)
		}
	}
	u.sweep = now
	if u.add("later", now) || !u.add("past", now) || len(u.until) != 2 {
		t.Errorf("%v", u.until)
	}
}

// Logout tokens are signed with the same keys, and some servers have the client's ID for their
// audience.
func TestTokensThatOpenNoSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refuses(w.logoutToken("red", set("sid", "1"), set("aud", []string{"chat", "chat-web"})), "jwt of another type")
	w.refuses(w.token("red", ""), "jwt claim required")
	w.refuses(w.token("red", "1", set("exp", time.Now().Add(longestToken+time.Minute).Unix())), "jwt good for too long")
	w.refuses(w.token("red", "1", set("aud", "chat-web")), "jwt audience invalid")
	w.enter(w.token("red", "1"))
}
