package upstream

import "net/http"

// onceWriter drops the answer of go-socket.io if the request was answered before. go-socket.io
// answers with an error whenever it made no session, also when the transport has said why or has
// hijacked the request.
type onceWriter struct {
	http.ResponseWriter
	answered bool
}

// Unwrap is for http.ResponseController.
func (w *onceWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Header returns one that nobody sees when the request was answered.
func (w *onceWriter) Header() http.Header {
	if w.answered {
		return http.Header{}
	}
	return w.ResponseWriter.Header()
}

func (w *onceWriter) WriteHeader(status int) {
	if !w.answered {
		w.ResponseWriter.WriteHeader(status)
	}
}

func (w *onceWriter) Write(p []byte) (int, error) {
	if w.answered {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}

// setAnswered says that go-socket.io must not add to the answer.
func setAnswered(w http.ResponseWriter) {
	for {
		switch outer := w.(type) {
		case *onceWriter:
			outer.answered = true
			return
		case interface{ Unwrap() http.ResponseWriter }:
			w = outer.Unwrap()
		default:
			return
		}
	}
}
