package socketiojwt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/go-socketiojwt/socketiojwt"
	"github.com/go-socketiojwt/socketiojwt/internal/harness"
	"github.com/go-socketiojwt/socketiojwt/internal/siotest"
	socketio "github.com/googollee/go-socket.io"
	"github.com/googollee/go-socket.io/engineio"
	"github.com/googollee/go-socket.io/engineio/transport"
	"github.com/googollee/go-socket.io/engineio/transport/polling"
	"github.com/googollee/go-socket.io/engineio/transport/websocket"
)

var (
	noToken        = refusal(socketiojwt.CodeCredentialsRequired, "no token provided")
	badFormat      = refusal(socketiojwt.CodeCredentialsBadFormat, "Format is Authorization: Bearer [token]")
	headerRequired = refusal(socketiojwt.CodeMissingAuthorizationHeader, "Server requires Authorization Header")
)

func requestTo(query string, header http.Header) *socketiojwt.Request {
	return &socketiojwt.Request{URL: &url.URL{Path: "/socket.io/", RawQuery: query}, Header: header}
}

func TestHandshakeTokenIsFoundAsInNode(t *testing.T) {
	t.Parallel()
	auth := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	plain := socketiojwt.Options{Handshake: true}
	required := socketiojwt.Options{Handshake: true, HeaderRequired: true}
	named := socketiojwt.Options{Handshake: true, QueryParam: "jwt"}

	for name, tc := range map[string]struct {
		opts   socketiojwt.Options
		query  string
		header http.Header
		want   string
		err    error
	}{
		"nothing":                    {plain, "", nil, "", noToken},
		"query":                      {plain, "EIO=3&token=q", nil, "q", nil},
		"query escaped":              {plain, "token=a%2Bb", nil, "a+b", nil},
		"query empty":                {plain, "token=", nil, "", noToken},
		"query twice":                {plain, "token=a&token=b", nil, "", badFormat},
		"query twice, once empty":    {plain, "token=&token=b", nil, "", badFormat},
		"query twice, escaped name":  {plain, "token=a&%74oken=b", nil, "", badFormat},
		"query of another case":      {plain, "Token=a", nil, "", noToken},
		"query malformed":            {plain, "token=%zz", nil, "", noToken},
		"query malformed elsewhere":  {plain, "%zz=1&token=q", nil, "q", nil},
		"query with semicolon":       {plain, "a=1;token=q", nil, "", noToken},
		"query named":                {named, "token=a&jwt=q", nil, "q", nil},
		"query named, other one":     {named, "token=a", nil, "", noToken},
		"bearer":                     {plain, "", auth("Bearer h"), "h", nil},
		"bearer in lower case":       {plain, "", auth("bearer h"), "h", nil},
		"bearer in upper case":       {plain, "", auth("BEARER h"), "h", nil},
		"bearer wins over query":     {plain, "token=q", auth("Bearer h"), "h", nil},
		"bearer, and query twice":    {plain, "token=a&token=b", auth("Bearer h"), "", badFormat},
		"bearer without token":       {plain, "", auth("Bearer"), "", badFormat},
		"bearer with empty token":    {plain, "token=q", auth("Bearer "), "q", nil},
		"bearer with two tokens":     {plain, "", auth("Bearer a b"), "", badFormat},
		"bearer with two spaces":     {plain, "", auth("Bearer  h"), "", badFormat},
		"token without scheme":       {plain, "token=q", auth("h"), "", badFormat},
		"header twice":               {plain, "", auth("Bearer a", "Bearer b"), "", badFormat},
		"header twice, once empty":   {plain, "", auth("", "Bearer b"), "", badFormat},
		"header empty":               {plain, "token=q", auth(""), "q", nil},
		"other scheme":               {plain, "", auth("Basic h"), "", noToken},
		"other scheme, and query":    {plain, "token=q", auth("Basic h"), "q", nil},
		"other scheme of many words": {plain, "token=q", auth(`Digest a="b", c="d"`), "", badFormat},
		"required and there":         {required, "", auth("Bearer h"), "h", nil},
		"required, nothing":          {required, "", nil, "", headerRequired},
		"required, query":            {required, "token=q", nil, "", headerRequired},
		"required, other scheme":     {required, "token=q", auth("Basic h"), "", headerRequired},
		"required, empty token":      {required, "", auth("Bearer "), "", headerRequired},
		"required, bad format":       {required, "", auth("h"), "", badFormat},
		"required, query twice":      {required, "token=a&token=b", auth("Bearer h"), "h", nil},
		"cookie that is not asked":   {plain, "", http.Header{"Cookie": {"token=c"}}, "", noToken},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := harness.Authorize(t, tc.opts).HandshakeToken(requestTo(tc.query, tc.header), "api.example")
			checkRefusal(t, err, tc.err)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}

	t.Run("request without anything", func(t *testing.T) {
		_, err := harness.Authorize(t, plain).HandshakeToken(&socketiojwt.Request{}, "")
		checkRefusal(t, err, noToken)
	})
}

func TestCookieCountsOnlyForPagesThatMaySendIt(t *testing.T) {
	t.Parallel()
	opts := socketiojwt.Options{Handshake: true, Cookie: "jwt", AllowedOrigins: []string{"https://App.example", "http://dev.example:3000", "https://port.example:443"}}
	a := harness.Authorize(t, opts)
	const host = "API.example:8080"

	for name, tc := range map[string]struct {
		host, query string
		header      http.Header
		want        string
		err         error
	}{
		"no origin":                  {host, "", nil, "c", nil},
		"own host":                   {host, "", http.Header{"Origin": {"http://api.example:8080"}}, "c", nil},
		"own host, other case":       {host, "", http.Header{"Origin": {"HTTP://Api.Example:8080"}}, "c", nil},
		"own host, other port":       {host, "", http.Header{"Origin": {"http://api.example:8081"}}, "", noToken},
		"own host, no port":          {host, "", http.Header{"Origin": {"http://api.example"}}, "", noToken},
		"own host, default port":     {"api.example:443", "", http.Header{"Origin": {"https://api.example"}}, "c", nil},
		"own host, explicit port":    {"api.example", "", http.Header{"Origin": {"http://api.example:80"}}, "c", nil},
		"own host, foreign default":  {"api.example:80", "", http.Header{"Origin": {"https://api.example"}}, "", noToken},
		"allowed":                    {host, "", http.Header{"Origin": {"https://app.example"}}, "c", nil},
		"allowed, other case":        {host, "", http.Header{"Origin": {"https://APP.example"}}, "c", nil},
		"allowed with port":          {host, "", http.Header{"Origin": {"http://dev.example:3000"}}, "c", nil},
		"allowed with default port":  {host, "", http.Header{"Origin": {"https://port.example"}}, "c", nil},
		"allowed, other scheme":      {host, "", http.Header{"Origin": {"http://app.example"}}, "", noToken},
		"allowed, other port":        {host, "", http.Header{"Origin": {"http://dev.example"}}, "", noToken},
		"below an allowed one":       {host, "", http.Header{"Origin": {"https://x.app.example"}}, "", noToken},
		"allowed one as prefix":      {host, "", http.Header{"Origin": {"https://app.example.evil"}}, "", noToken},
		"foreign":                    {host, "", http.Header{"Origin": {"https://evil.example"}}, "", noToken},
		"foreign with own as user":   {host, "", http.Header{"Origin": {"http://api.example:8080@evil.example"}}, "", noToken},
		"foreign with own as path":   {host, "", http.Header{"Origin": {"http://evil.example/api.example:8080"}}, "", noToken},
		"null":                       {host, "", http.Header{"Origin": {"null"}}, "", noToken},
		"empty, which is none":       {host, "", http.Header{"Origin": {""}}, "c", nil},
		"no host on either side":     {"", "", http.Header{"Origin": {"file://"}}, "", noToken},
		"letters that fold":          {"kapi.example", "", http.Header{"Origin": {"http://\u212aapi.example"}}, "", noToken},
		"two origins":                {host, "", http.Header{"Origin": {"https://app.example", "https://evil.example"}}, "", noToken},
		"the same origin twice":      {host, "", http.Header{"Origin": {"https://app.example", "https://app.example"}}, "", noToken},
		"script of a foreign page":   {host, "j=0", http.Header{"Sec-Fetch-Site": {"cross-site"}}, "", noToken},
		"script of a sibling page":   {host, "j=0", http.Header{"Sec-Fetch-Site": {"same-site"}}, "", noToken},
		"script of who knows":        {host, "j=0", nil, "", noToken},
		"script of an own page":      {host, "j=0", http.Header{"Sec-Fetch-Site": {"same-origin"}}, "c", nil},
		"script of an allowed page":  {host, "j=0", http.Header{"Sec-Fetch-Site": {"cross-site"}, "Origin": {"https://app.example"}}, "c", nil},
		"GET of an own page":         {host, "", http.Header{"Sec-Fetch-Site": {"same-origin"}}, "c", nil},
		"image of a foreign page":    {host, "", http.Header{"Sec-Fetch-Site": {"cross-site"}}, "", noToken},
		"query wins, though foreign": {host, "token=q", http.Header{"Origin": {"https://evil.example"}}, "q", nil},
		"header wins":                {host, "", http.Header{"Authorization": {"Bearer h"}}, "h", nil},
		"two cookies":                {host, "", http.Header{"Cookie": {"jwt=a; jwt=b"}}, "", badFormat},
		"two cookies in two headers": {host, "", http.Header{"Cookie": {"jwt=a", "jwt=b"}}, "", badFormat},
		"two cookies, foreign":       {host, "", http.Header{"Cookie": {"jwt=a; jwt=b"}, "Origin": {"https://evil.example"}}, "", noToken},
		"empty cookie":               {host, "", http.Header{"Cookie": {"jwt="}}, "", noToken},
		"other cookie":               {host, "", http.Header{"Cookie": {"JWT=a"}}, "", noToken},
	} {
		t.Run(name, func(t *testing.T) {
			header := tc.header.Clone()
			if header == nil {
				header = http.Header{}
			}
			if header["Cookie"] == nil {
				header.Set("Cookie", "a=b; jwt=c; d=e")
			}
			r := requestTo(tc.query, header)
			got, err := a.HandshakeToken(r, tc.host)
			checkRefusal(t, err, tc.err)
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if strings.Contains(name, "wins") {
				return
			}
			// On its own, no cookie is no error.
			want := tc.err
			if errors.Is(want, noToken) {
				want = nil
			}
			got, err = a.CookieToken(r, tc.host)
			checkRefusal(t, err, want)
			if got != tc.want {
				t.Errorf("cookie alone: got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestNamespaceTokenIsThatOfTheQuery(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		opts  socketiojwt.Options
		query string
		want  string
		err   error
	}{
		{socketiojwt.Options{Handshake: true}, "token=n", "n", nil},
		{socketiojwt.Options{Handshake: true}, "a=b&token=n", "n", nil},
		{socketiojwt.Options{Handshake: true}, "", "", nil},
		{socketiojwt.Options{Handshake: true}, "token=", "", nil},
		{socketiojwt.Options{Handshake: true}, "%zz", "", nil},
		{socketiojwt.Options{Handshake: true}, "token=a&token=b", "", badFormat},
		{socketiojwt.Options{Handshake: true, QueryParam: "jwt"}, "jwt=n&token=x", "n", nil},
		{socketiojwt.Options{Handshake: true, HeaderRequired: true}, "token=n", "", nil},
	} {
		got, ok, err := harness.Authorize(t, tc.opts).NamespaceToken(tc.query)
		checkRefusal(t, err, tc.err)
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("%q: got %q, %v; want %q", tc.query, got, ok, tc.want)
		}
	}
}

func TestAuthenticateDataTakesAnything(t *testing.T) {
	t.Parallel()
	for data, want := range map[string]struct {
		raw               string
		present, isString bool
	}{
		`{"token":"a"}`:                       {"a", true, true},
		" {\n\"x\": [1], \"token\" : \"a\" }": {"a", true, true},
		`{"token":"Bearer a"}`:                {"a", true, true},
		`{"token":"bEARER a"}`:                {"a", true, true},
		`{"token":"Bearer"}`:                  {"Bearer", true, true},
		`{"token":"Bearer "}`:                 {"", true, false},
		`{"token":"Basic a"}`:                 {"Basic a", true, true},
		`{"token":"Bearer a b"}`:              {"a b", true, true},
		`{"\u0074oken":"a"}`:                  {"a", true, true},
		`{"token":"\u0061"}`:                  {"a", true, true},
		`{"x":{"token":"b"},"token":"a"}`:     {"a", true, true},
		`{"x":{"token":"b"}}`:                 {"", false, false},
		`{"Token":"a"}`:                       {"", false, false},
		`{"TOKEN":"b","token":"a"}`:           {"a", true, true},
		`{"token":"a","token":"b"}`:           {"", true, false},
		`{"token":"a","token":"a"}`:           {"", true, false},
		`{"token":"a","\u0074oken":"b"}`:      {"", true, false},
		`{"token":"a","token":"b","token":1}`: {"", true, false},
		`{"token":""}`:                        {"", true, false},
		`{"token":null}`:                      {"", true, false},
		`{"token":1}`:                         {"", true, false},
		`{"token":{"token":"a"}}`:             {"", true, false},
		`{"token":["a"]}`:                     {"", true, false},
		`{}`:                                  {"", false, false},
		`null`:                                {"", false, false},
		`[]`:                                  {"", false, false},
		`[{"token":"a"}]`:                     {"", false, false},
		`"a"`:                                 {"", false, false},
		`1`:                                   {"", false, false},
		`true`:                                {"", false, false},
	} {
		var d socketiojwt.AuthenticateData
		if err := json.Unmarshal([]byte(data), &d); err != nil {
			t.Errorf("%s: %v", data, err)
		}
		raw, present, isString := d.Token()
		if raw != want.raw || present != want.present || isString != want.isString {
			t.Errorf("%s: got %q, %v, %v; want %+v", data, raw, present, isString, want)
		}
	}
}

func TestAuthenticateDataForgetsWhatItHeldAndPrintsNothing(t *testing.T) {
	t.Parallel()
	var d socketiojwt.AuthenticateData
	if err := json.Unmarshal([]byte(`{"token":"secret"}`), &d); err != nil {
		t.Fatal(err)
	}
	if text := fmt.Sprintf("%v %+v %s", d, d, &d); strings.Contains(text, "secret") {
		t.Errorf("prints the token: %s", text)
	}
	for _, data := range []string{"null", `{"token":"x"`, ``, `{"token":"x"} {`} {
		if err := d.UnmarshalJSON([]byte(data)); err != nil {
			t.Errorf("%q: %v", data, err)
		}
		if raw, present, isString := d.Token(); raw != "" || present || isString {
			t.Errorf("%q: got %q, %v, %v", data, raw, present, isString)
		}
	}
}

// FuzzAuthenticateData checks that no argument is an error and that a token is only what
// encoding/json finds in that place too.
func FuzzAuthenticateData(f *testing.F) {
	for _, seed := range []string{`{"token":"a"}`, `{"token":"Bearer a","x":[{}]}`, `null`, `[1,"a"]`, `{"token":1,"token":"a"}`, `{"token":"\ud800"}`, `{`, ``} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var d socketiojwt.AuthenticateData
		if err := d.UnmarshalJSON(data); err != nil {
			t.Fatal(err)
		}
		raw, present, isString := d.Token()
		if isString != (raw != "") || isString && !present {
			t.Fatalf("%q: %q, %v, %v", data, raw, present, isString)
		}
		var object map[string]any
		if json.Unmarshal(data, &object) != nil {
			object = nil
		}
		if _, ok := object["token"]; ok != present {
			t.Fatalf("%q: present = %v", data, present)
		}
		if text, _ := object["token"].(string); isString && !strings.HasSuffix(text, raw) {
			t.Fatalf("%q: got %q, encoding/json %q", data, raw, text)
		}
	})
}

// FuzzHandshakeToken checks that every handshake gives a token or a refusal of the
// contract, and that a page of another origin never uses the cookie.
func FuzzHandshakeToken(f *testing.F) {
	f.Add("token=a", "Bearer b", "jwt=c", "https://evil.example", "api.example")
	f.Add("token=a&token=b", "Basic b", "jwt=c; jwt=d", "null", "")
	f.Add("%zz;&j=1", "", "jwt=\"", "http://[::1", "[::1]:80")
	f.Add("", "", "jwt=cookie", "https://app.example", "api.example:443")
	f.Add("j=1", "", "jwt=cookie", "", "api.example")
	plain := harness.Authorize(f, socketiojwt.Options{Handshake: true, Cookie: "jwt", AllowedOrigins: []string{"https://app.example"}})
	required := harness.Authorize(f, socketiojwt.Options{Handshake: true, HeaderRequired: true})
	f.Fuzz(func(t *testing.T, query, authorization, cookie, origin, host string) {
		r := requestTo(query, http.Header{"Authorization": {authorization}, "Cookie": {cookie}, "Origin": {origin}})
		for _, a := range []*socketiojwt.Authorizer{plain, required} {
			raw, err := a.HandshakeToken(r, host)
			if (raw == "") != (err != nil) {
				t.Fatalf("got %q, %v", raw, err)
			}
			if err != nil && !errors.Is(err, noToken) && !errors.Is(err, badFormat) && !errors.Is(err, headerRequired) {
				t.Fatal(err)
			}
			if err == nil && !strings.Contains(authorization, raw) && a == required {
				t.Fatalf("%q is not of the header", raw)
			}
		}
		raw, _ := plain.CookieToken(r, host)
		switch {
		case raw == "":
		case origin == "": // as none, and there is no Sec-Fetch-Site
			if r.URL.Query().Has("j") {
				t.Fatal("the cookie counts for a script")
			}
		case !strings.EqualFold(origin, "https://app.example") && !strings.EqualFold(origin, "https://app.example:443"):
			_, own, _ := strings.Cut(strings.ToLower(origin), "://")
			if bare := strings.TrimSuffix(strings.TrimSuffix(own, ":80"), ":443"); bare == "" || !strings.HasPrefix(strings.ToLower(host), bare) {
				t.Fatalf("the cookie counts for %q at %q", origin, host)
			}
		}
	})
}

// cookiePages are pages in a browser that holds a good cookie of api.example, and
// programs that are no browser.
var cookiePages = []struct {
	name   string
	host   string // "" is api.example:8080
	header http.Header
	in     bool
	jsonp  any // true or false where it is not as in
}{
	// A browser leaves Origin out of GETs to the page's own origin; a program always does.
	{name: "no Origin", in: true, jsonp: false},
	{name: "no Origin, of the same origin", header: http.Header{"Sec-Fetch-Site": {"same-origin"}}, in: true},
	{name: "no Origin, by the user", header: http.Header{"Sec-Fetch-Site": {"none"}}, in: true},
	{name: "empty Origin", header: origin(""), in: true, jsonp: false},
	{name: "empty Origin, of another site", header: http.Header{"Origin": {""}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "no Origin, of another site", header: http.Header{"Sec-Fetch-Site": {"cross-site"}}},
	{name: "no Origin, of a sibling", header: http.Header{"Sec-Fetch-Site": {"same-site"}}},
	{name: "no Origin, of who knows", header: http.Header{"Sec-Fetch-Site": {"new-value"}}},

	{name: "same origin", header: origin("http://api.example:8080"), in: true},
	{name: "same origin, and so it says", header: http.Header{"Origin": {"http://api.example:8080"}, "Sec-Fetch-Site": {"same-origin"}}, in: true},
	{name: "same origin, default port", host: "api.example", header: origin("http://api.example"), in: true},
	{name: "same origin, https behind a proxy", host: "api.example", header: origin("https://api.example"), in: true},
	{name: "same origin, default port in Host", host: "api.example:443", header: origin("https://api.example"), in: true},
	{name: "same origin, default port in both", host: "api.example:80", header: origin("http://api.example:80"), in: true},
	{name: "same origin, by the scheme of WebSockets", host: "api.example:443", header: origin("wss://api.example"), in: true},
	{name: "the other scheme's default port", host: "api.example:80", header: origin("https://api.example")},
	{name: "same origin, IPv6", host: "[::1]:8080", header: origin("http://[::1]:8080"), in: true},

	{name: "other port", header: origin("http://api.example:8081")},
	{name: "default port", header: origin("http://api.example")},
	{name: "other scheme, its default port", host: "api.example:80", header: origin("https://api.example")},
	{name: "other scheme, the server's default port", host: "api.example:443", header: origin("http://api.example")},
	{name: "other scheme, no scheme of the web", header: origin("chrome-extension://api.example:8080")},
	{name: "subdomain", header: origin("http://evil.api.example:8080")},
	{name: "parent domain", header: origin("http://example:8080")},
	{name: "sibling", header: origin("http://www.example:8080")},
	{name: "another site", header: origin("https://evil.example")},
	{name: "another site, and so it says", header: http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "another site that lies", header: http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"same-origin"}}},
	{name: "another site, own host in the user part", header: origin("http://api.example:8080@evil.example")},
	{name: "another site, own host in the path", header: origin("http://evil.example/http://api.example:8080")},
	{name: "another site, own host as prefix", header: origin("http://api.example:8080.evil.example")},
	{name: "own host and a path", header: origin("http://api.example:8080/")},
	{name: "own host and a user", header: origin("http://evil@api.example:8080")},
	{name: "trailing dot", header: origin("http://api.example.:8080")},
	{name: "null", header: origin("null")},
	{name: "null, and so it says", header: http.Header{"Origin": {"null"}, "Sec-Fetch-Site": {"cross-site"}}},
	{name: "file", header: origin("file://")},
	{name: "own host without scheme", header: origin("api.example:8080")},
	{name: "two origins", header: http.Header{"Origin": {"http://api.example:8080", "https://evil.example"}}},
	{name: "two origins, the own last", header: http.Header{"Origin": {"https://evil.example", "http://api.example:8080"}}},
	{name: "two origins in one", header: origin("http://api.example:8080 https://evil.example")},
	{name: "two origins, by comma", header: origin("http://api.example:8080, https://evil.example")},

	{name: "allowed", header: origin("https://app.example"), in: true},
	{name: "allowed, and so it says", header: http.Header{"Origin": {"https://app.example"}, "Sec-Fetch-Site": {"cross-site"}}, in: true},
	{name: "allowed, with its port", header: origin("http://localhost:3000"), in: true},
	{name: "allowed, other scheme", header: origin("http://app.example")},
	{name: "allowed, other port", header: origin("http://localhost:3001")},
	{name: "allowed, subdomain", header: origin("https://x.app.example")},
	{name: "allowed, as prefix", header: origin("https://app.example.evil.example")},
}

func origin(value string) http.Header { return http.Header{"Origin": {value}} }

// startCookieServer serves pages of any origin, which CORS may well allow.
func startCookieServer(tb testing.TB, at harness.Place, handshake bool, entered *atomic.Int64) *harness.App {
	tb.Helper()
	auth := harness.Authorize(tb, socketiojwt.Options{
		Handshake:      handshake,
		Cookie:         "jwt",
		AllowedOrigins: []string{"https://app.example", "http://localhost:3000"},
	})
	anybody := func(*http.Request) bool { return true }
	s := &harness.App{Auth: auth, At: at}
	s.Server = auth.Protect(socketio.NewServer(socketiojwt.Harden(&engineio.Options{Transports: []transport.Transport{
		&polling.Transport{CheckOrigin: anybody},
		&websocket.Transport{CheckOrigin: anybody},
	}})))
	s.OnConnect("/", func(c socketio.Conn) error {
		entered.Add(1)
		session, _ := auth.Session(c)
		c.Emit("welcome", session.Subject())
		return nil
	})
	harness.Serve(tb, s.Server, s.At, s.Server)
	return s
}

// Cross-site WebSocket hijacking, and the same by polling and by script: a page of another
// site never gets in on the cookie of its visitor.
func TestCookieOfAnotherPage(t *testing.T) {
	t.Parallel()
	good := harness.TokenOf(t, "bob")
	for _, handshake := range []bool{true, false} {
		for _, page := range cookiePages {
			for _, transport := range []string{"polling", "websocket", "upgrade", "jsonp"} {
				o := siotest.Options{Transport: transport, Header: page.header.Clone()}
				in := page.in
				if transport == "jsonp" {
					o.Transport, o.JSONP = "polling", true
					if page.jsonp != nil {
						in = page.jsonp.(bool)
					}
				}
				if transport == "upgrade" && handshake && !in {
					continue // there is nothing to upgrade
				}
				if o.Header == nil {
					o.Header = http.Header{}
				}
				o.Header.Set("Cookie", "a=b; jwt="+good)
				o.Header.Set("Host", "api.example:8080")
				if page.host != "" {
					o.Header.Set("Host", page.host)
				}
				t.Run(fmt.Sprintf("handshake %t/%s/%s", handshake, page.name, transport), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						var entered atomic.Int64
						s := startCookieServer(t, harness.InMemory(t), handshake, &entered)
						_, must := s.Dial(t, o)
						switch {
						case in && !handshake:
							must.NextRaw("40")
							must.Emit("/", "authenticate")
							must.NextRaw(`42["authenticated"]`)
							must.NextRaw(`42["welcome","bob"]`)
						case in:
							must.NextRaw("40")
							must.NextRaw(`42["welcome","bob"]`)
						case handshake:
							harness.Expect(t, must.Rest(), "44"+harness.Refusal("credentials_required", "no token provided"), "41")
						default:
							must.NextRaw("40")
							must.Send(`42["authenticate",{}]`)
							harness.Unauthorized(t, must.Next(), "invalid_token", "invalid token datatype")
							harness.Expect(t, must.Rest(), "41")
						}
						synctest.Wait()
						if n := entered.Load(); (n == 1) != in {
							t.Errorf("OnConnect ran %d times", n)
						}
					})
				})
			}
		}
	}
}

// What a page sends itself is not its visitor's, so where it is from does not matter.
func TestOwnTokenOfAnotherPage(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		var entered atomic.Int64
		s := startCookieServer(t, harness.Loopback(t), handshake, &entered)
		for _, transport := range []string{"polling", "websocket", "jsonp"} {
			o := siotest.Options{Transport: transport, Header: http.Header{
				"Origin": {"https://evil.example"}, "Cookie": {"jwt=" + harness.TokenOf(t, "bob")},
			}}
			if transport == "jsonp" {
				o.Transport, o.JSONP = "polling", true
			}
			if handshake {
				o.Query = harness.WithToken(harness.TokenOf(t, "eve"))
			}
			_, must := s.Dial(t, o)
			must.NextRaw("40")
			if !handshake {
				must.Emit("/", "authenticate", map[string]string{"token": harness.TokenOf(t, "eve")})
				must.NextRaw(`42["authenticated"]`)
			}
			must.NextRaw(`42["welcome","eve"]`)
		}
	}
}

// A foreign page cannot use the cookie for a namespace either, nor by an upgrade that looks
// better than the handshake.
func TestCookieOfAnotherPageInANamespace(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		auth := harness.Authorize(t, socketiojwt.Options{Handshake: handshake, Cookie: "jwt"})
		at := harness.Loopback(t)
		sio := auth.Protect(socketio.NewServer(socketiojwt.Harden(nil)), "/admin")
		sio.OnConnect("/", func(socketio.Conn) error { return nil })
		sio.OnConnect("/admin", func(socketio.Conn) error { t.Error("OnConnect ran"); return nil })
		harness.Serve(t, sio, at, sio)

		header := http.Header{"Origin": {"https://evil.example"}, "Cookie": {"jwt=" + harness.TokenOf(t, "bob")}}
		c, must := harness.Dial(t, at, siotest.Options{Transport: "polling", Header: header, ManualPoll: true, NoPing: true})
		must.NextRaw("40")
		header.Set("Origin", at.URL) // of the requests that follow
		must.OK(c.UpgradeNow(t.Context()))
		must.Join("/admin")
		if handshake {
			must.NextRaw("44/admin," + harness.Refusal("credentials_required", "no token provided"))
			must.NextRaw("41/admin")
			continue
		}
		must.NextRaw("40/admin")
		must.Send(`42/admin,["authenticate",{}]`)
		harness.Unauthorized(t, must.Next(), "invalid_token", "invalid token datatype")
		must.NextRaw("41/admin")
	}
}

// Without a CheckOrigin of its own, no WebSocket of a foreign page is opened at all.
func TestForeignWebSocketIsRefusedByDefault(t *testing.T) {
	t.Parallel()
	for _, handshake := range []bool{true, false} {
		s := harness.Start(t, socketiojwt.Options{Handshake: handshake, Cookie: "jwt"}, nil)
		for _, from := range []string{"https://evil.example", "null", s.At.URL + ".evil.example"} {
			_, err := siotest.Dial(t.Context(), s.At.URL, siotest.Options{Transport: "websocket",
				Header: http.Header{"Origin": {from}, "Cookie": {"jwt=" + harness.TokenOf(t, "bob")}}})
			if refused := new(siotest.StatusError); !errors.As(err, &refused) || refused.Status != http.StatusForbidden || refused.Body != `{"code":4,"message":"Forbidden"}` {
				t.Errorf("handshake %t, %s: got %v", handshake, from, err)
			}
			if n := s.Count(); n != 0 {
				t.Errorf("handshake %t, %s: %d sessions", handshake, from, n)
			}
		}
	}
}
