package transport

import "testing"

func TestOpenedID(t *testing.T) {
	for data, want := range map[string]string{
		`{"sid":"abc","upgrades":[],"pingInterval":1,"pingTimeout":2}`: "abc",
		`{"upgrades":[],"sid":"abc"}`:                                  "abc",
		`{"sid":"a\"b","upgrades":[]}`:                                 `a"b`,
		`{"sid":"abc"}`:                                                "abc",
		`{}`:                                                           "",
	} {
		if got, err := openedID([]byte(data)); err != nil || got != want {
			t.Errorf("the id in %s is %q (%v), want %q", data, got, err, want)
		}
	}
	if _, err := openedID([]byte(`{"sid":`)); err == nil {
		t.Error("an OPEN that is no JSON has an id")
	}
}
