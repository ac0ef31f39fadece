package main

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"mime"
	"net/http"
)

// checkPassword reads {"user", "password"} and returns the user whose password that is. If it is
// nobody's, it answers the request and ok is false. passwords is demo data: keep a slow,
// salted hash of each instead (argon2id, bcrypt).
func checkPassword(w http.ResponseWriter, r *http.Request, passwords map[string]string) (user string, ok bool) {
	// A form on another site cannot send this type without being asked first.
	if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
		http.Error(w, "send JSON", http.StatusUnsupportedMediaType)
		return "", false
	}
	var form struct{ User, Password string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 4<<10)).Decode(&form); err != nil {
		http.Error(w, "not a login", http.StatusBadRequest)
		return "", false
	}
	// The same time for a wrong password and for a user who does not exist.
	want, known := passwords[form.User]
	a, b := sha256.Sum256([]byte(form.Password)), sha256.Sum256([]byte(want))
	if same := subtle.ConstantTimeCompare(a[:], b[:]) == 1; !same || !known {
		http.Error(w, "wrong user or password", http.StatusUnauthorized)
		return "", false
	}
	return form.User, true
}

// answerJSON sends value as JSON that no cache keeps.
func answerJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	json.NewEncoder(w).Encode(value)
}
