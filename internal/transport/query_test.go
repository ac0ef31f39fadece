package transport

import (
	"net/url"
	"strings"
	"testing"
)

// FuzzQuery holds Query to what url.ParseQuery reads.
func FuzzQuery(f *testing.F) {
	for _, query := range []string{
		"", "&", "=", "a", "a=", "=a", "a=1&b=2", "a=1&a=2", "&&a=1&", "a=1;b=2&a=3", "a;=1&a=2", "a%3b=1", "a=%3b",
		"%61=1", "a=%", "%=1&a=2", "a=%zz&a=ok", "a=1+2", "a+b=1&a%20b=2", "a==1", "a=\x00", "é=1&%C3%A9=2", "a=%ff",
		strings.Repeat("a&", maxPlainParams) + "a=last", strings.Repeat("b&", 2*maxPlainParams) + "a=last",
		strings.Repeat("a=1&", 20_000),
	} {
		for _, name := range []string{"a", "", "é", "a b", "a;"} {
			f.Add(query, name)
		}
	}
	f.Fuzz(func(t *testing.T, query, name string) {
		want, _ := url.ParseQuery(query)
		first, n := Query(query).Lookup(name)
		if first != want.Get(name) || n != len(want[name]) {
			t.Errorf("%d values of %q in %q, the first %q; want %q", n, name, query, first, want[name])
		}
		if Query(query).Get(name) != want.Get(name) || Query(query).Has(name) != want.Has(name) {
			t.Errorf("Get and Has of %q in %q do not say what Lookup says", name, query)
		}
	})
}
