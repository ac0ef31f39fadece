package socketiojwt

import (
	"encoding/json"
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// ErrKeyNotFound says that there is no key for a token, such as a token with an unknown `kid`. A
// Secret returns it, or wraps it, so that the client is refused for good, with `invalid signature`.
// After any other error of a Secret the client tries again.
var ErrKeyNotFound = errors.New("socketiojwt: no key for this token")

// The codes of an [UnauthorizedError]. They are part of the wire contract: clients that were
// written for Node's socketio-jwt compare them.
const (
	// CodeCredentialsRequired says that no token was sent where one is needed.
	CodeCredentialsRequired = "credentials_required"
	// CodeCredentialsBadFormat says that it is not clear what the token is: the Authorization
	// header is not two words, or there are two tokens in the same place.
	CodeCredentialsBadFormat = "credentials_bad_format"
	// CodeMissingAuthorizationHeader says that [Options.HeaderRequired] is set and there was no
	// bearer token in the Authorization header.
	CodeMissingAuthorizationHeader = "missing_authorization_header"
	// CodeInvalidToken says that the token itself was refused; the message says why.
	CodeInvalidToken = "invalid_token"
	// CodeInvalidSecret says that the server could not find the key for the token. The client may
	// try again.
	CodeInvalidSecret = "invalid_secret"
	// CodeTimeout says that a round trip did not succeed within [Options.Timeout].
	CodeTimeout = "timeout"
	// CodeTooManyAttempts says that the client has failed [Options.MaxAttempts] times before, so
	// that this token was not looked at.
	CodeTooManyAttempts = "too_many_attempts"
	// CodeServerBusy says that [Options.MaxPending] was reached, that [Options.Revocations] could
	// not be asked, or that a callback did not answer in time. The client may try again.
	CodeServerBusy = "server_busy"
	// CodeSessionReplaced says that a newer session of the same user took the place of this one,
	// see [Options.SingleSession].
	CodeSessionReplaced = "session_replaced"
	// CodeUnauthorized says that the token was good and the application refused its bearer, see
	// [Options.Accept] and [Authorizer.Disconnect].
	CodeUnauthorized = "unauthorized"
)

// UnauthorizedError is the one error of this package that clients see. As JSON it is {"message":
// Message, "code": Code, "type": "UnauthorizedError"}.
//
// Return one from [Options.Secret] or [Options.Accept], or give one to [Authorizer.Disconnect], to
// decide what the client is told. The error that it wraps is for the server only and is never sent.
type UnauthorizedError struct {
	// Code is one of the Code constants, or the application's own.
	Code string
	// Message is the text for the client.
	Message string
	// Retryable says that the server is to blame and the refusal may be gone a moment later. The
	// client is not told to stay away then. Refusals with CodeInvalidSecret and CodeServerBusy
	// always are retryable. Retryable is not sent.
	Retryable bool
	// Err is the cause, for logs and errors.Is; nil if there is none. It is never sent. The cause
	// of a refused token is golang-jwt's, and may hold bytes that the client sent.
	Err error

	by string // see Refusal.By
}

// Error returns the code and the message, which are all that a client may know.
//
// The methods accept a nil *UnauthorizedError: callbacks return one inside an error that is not
// nil, by mistake.
func (e *UnauthorizedError) Error() string {
	switch {
	case e == nil:
		return "<nil>"
	case e.Code == "":
		return e.Message
	case e.Message == "":
		return e.Code
	}
	return e.Code + ": " + e.Message
}

// Unwrap returns Err, which may hold bytes that the client sent. Take care where it is printed.
func (e *UnauthorizedError) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// Is reports whether target is an *UnauthorizedError with the same code and, if target has a
// message, the same message. So
//
//	errors.Is(err, &socketiojwt.UnauthorizedError{Code: socketiojwt.CodeInvalidToken})
//
// holds for every reason for which a token is refused.
func (e *UnauthorizedError) Is(target error) bool {
	t, ok := target.(*UnauthorizedError)
	return ok && e != nil && t != nil && t.Code == e.Code && (t.Message == "" || t.Message == e.Message)
}

// MarshalJSON returns the payload of the wire contract, in Node's member order.
func (e UnauthorizedError) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Message string `json:"message"`
		Code    string `json:"code"`
		Type    string `json:"type"`
	}{e.Message, e.Code, "UnauthorizedError"})
}

// dueTo notes which of the Options a refusal is due to.
func (e *UnauthorizedError) dueTo(option string) *UnauthorizedError {
	e.by = option
	return e
}

// retryable tells refusals that are the server's fault, and may be gone a moment later, from those
// that stay until the client has another token.
func (e *UnauthorizedError) retryable() bool {
	return e.Retryable || e.Code == CodeInvalidSecret || e.Code == CodeServerBusy
}

// wantsToken reports whether the client sent no token.
func (e *UnauthorizedError) wantsToken() bool {
	return e.Code == CodeCredentialsRequired || e.Code == CodeMissingAuthorizationHeader
}

// There is one constructor for each row of the wire contract. Each call makes a new error, so that
// nobody can change the text of somebody else's.

func errNoToken() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsRequired, Message: "no token provided"}
}

func errAuthenticationRequired() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsRequired, Message: "authentication required"}
}

func errBadFormat() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeCredentialsBadFormat, Message: "Format is Authorization: Bearer [token]"}
}

func errHeaderRequired() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeMissingAuthorizationHeader, Message: "Server requires Authorization Header"}
}

func errTokenDatatype() *UnauthorizedError { return invalidToken("invalid token datatype", nil) }

func errMalformed(cause error) *UnauthorizedError { return invalidToken("jwt malformed", cause) }

func errSignatureRequired() *UnauthorizedError {
	return invalidToken("jwt signature is required", nil)
}

func errInvalidSignature(cause error) *UnauthorizedError {
	return invalidToken("invalid signature", cause)
}

func errInvalidAlgorithm(cause error) *UnauthorizedError {
	return invalidToken("invalid algorithm", cause)
}

func errTokenExpired(cause error) *UnauthorizedError { return invalidToken("jwt expired", cause) }

func errTokenRevoked() *UnauthorizedError { return invalidToken("jwt revoked", nil) }

func errTokenTooLong() *UnauthorizedError { return invalidToken("jwt too long", nil) }

func errSubjectChanged() *UnauthorizedError { return invalidToken("jwt subject changed", nil) }

func errClaimRequired() *UnauthorizedError { return invalidToken("jwt claim required", nil) }

func errSessionReplaced() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeSessionReplaced, Message: "session replaced"}
}

func errSecretUnavailable(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeInvalidSecret, Message: "secret unavailable", Retryable: true, Err: cause}
}

func errTimeout() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeTimeout, Message: "authentication timed out", by: "Timeout"}
}

func errTooManyAttempts() *UnauthorizedError {
	return &UnauthorizedError{Code: CodeTooManyAttempts, Message: "too many attempts", by: "MaxAttempts"}
}

func errServerBusy(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeServerBusy, Message: "server busy", Retryable: true, Err: cause}
}

func errUnauthorized(cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeUnauthorized, Message: "unauthorized", Err: cause}
}

func invalidToken(message string, cause error) *UnauthorizedError {
	return &UnauthorizedError{Code: CodeInvalidToken, Message: message, Err: cause}
}

// claimErrors maps golang-jwt's claim errors to the contract. golang-jwt reports all that fail. The
// client is told the first of this list, which is the order in which Node's jsonwebtoken checks. A
// claim of the wrong type comes before all others: nothing that was read from such a token means
// anything.
var claimErrors = []struct {
	is      error
	message string
}{
	{jwt.ErrInvalidType, "jwt malformed"},
	{jwt.ErrTokenNotValidYet, "jwt not active"},
	{jwt.ErrTokenUsedBeforeIssued, "jwt not active"},
	{jwt.ErrTokenExpired, "jwt expired"},
	{jwt.ErrTokenInvalidAudience, "jwt audience invalid"},
	{jwt.ErrTokenInvalidIssuer, "jwt issuer invalid"},
	{jwt.ErrTokenInvalidSubject, "jwt subject invalid"},
	{jwt.ErrTokenRequiredClaimMissing, "jwt claim required"},
}

// errClaims is the refusal for an error of golang-jwt's claims validation. An error that is not
// golang-jwt's came from the Validate method of the application's claims type, which decides what
// the client is told as Accept does.
func errClaims(err error) *UnauthorizedError {
	for _, c := range claimErrors {
		if errors.Is(err, c.is) {
			return invalidToken(c.message, err)
		}
	}
	return refusalOf(err, errUnauthorized(err))
}

// refusalOf returns what the client is told when the application's code failed with err: the
// *UnauthorizedError in err, as a copy with the gaps filled from otherwise, or else otherwise.
func refusalOf(err error, otherwise *UnauthorizedError) *UnauthorizedError {
	var theirs *UnauthorizedError
	if !errors.As(err, &theirs) || theirs == nil {
		return otherwise
	}
	refusal := &UnauthorizedError{Code: theirs.Code, Message: theirs.Message, Retryable: theirs.Retryable, Err: err}
	if refusal.Code == "" {
		refusal.Code = otherwise.Code
	}
	if refusal.Message == "" {
		refusal.Message = otherwise.Message
	}
	return refusal
}
