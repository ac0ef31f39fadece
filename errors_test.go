package socketiojwt_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/go-socketiojwt/socketiojwt"
)

func TestUnauthorizedErrorIsThePayloadOfTheContract(t *testing.T) {
	t.Parallel()
	const want = `{"message":"jwt expired","code":"invalid_token","type":"UnauthorizedError"}`
	e := socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken, Message: "jwt expired"}
	for name, v := range map[string]any{"value": e, "pointer": &e} {
		got, err := json.Marshal(v)
		if err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
		}
	}
}

func TestUnauthorizedErrorMatchesByCodeAndByMessageIfThereIsOne(t *testing.T) {
	t.Parallel()
	err := fmt.Errorf("wrapped: %w", &socketiojwt.UnauthorizedError{Code: "a", Message: "b"})
	for _, tc := range []struct {
		target error
		want   bool
	}{
		{&socketiojwt.UnauthorizedError{Code: "a", Message: "b"}, true},
		{&socketiojwt.UnauthorizedError{Code: "a"}, true},
		{&socketiojwt.UnauthorizedError{Code: "a", Message: "c"}, false},
		{&socketiojwt.UnauthorizedError{Code: "c", Message: "b"}, false},
		{&socketiojwt.UnauthorizedError{Message: "b"}, false},
		{(*socketiojwt.UnauthorizedError)(nil), false},
		{errors.New("a: b"), false},
	} {
		if got := errors.Is(err, tc.target); got != tc.want {
			t.Errorf("Is(%#v) = %v, want %v", tc.target, got, tc.want)
		}
	}
}

func TestUnauthorizedErrorTextIsWhatTheClientMayKnow(t *testing.T) {
	t.Parallel()
	for want, e := range map[string]*socketiojwt.UnauthorizedError{
		"a: b": {Code: "a", Message: "b"},
		"a":    {Code: "a"},
		"b":    {Message: "b"},
	} {
		if got := e.Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOnlyTheServersOwnTroubleIsRetryable(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		code string
		want bool
	}{
		{socketiojwt.CodeInvalidSecret, true},
		{socketiojwt.CodeServerBusy, true},
		{socketiojwt.CodeInvalidToken, false},
		{socketiojwt.CodeUnauthorized, false},
		{socketiojwt.CodeTimeout, false},
		{socketiojwt.CodeTooManyAttempts, false},
		{socketiojwt.CodeCredentialsRequired, false},
		{socketiojwt.CodeCredentialsBadFormat, false},
		{socketiojwt.CodeMissingAuthorizationHeader, false},
	} {
		e := &socketiojwt.UnauthorizedError{Code: tc.code}
		if socketiojwt.IsRetryable(e) != tc.want {
			t.Errorf("%s: retryable = %v, want %v", tc.code, !tc.want, tc.want)
		}
	}
}
