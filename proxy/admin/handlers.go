package admin

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
)

// live answers while the process can answer at all. Recovery and an outage of the store are no reason to kill it.
func (s *Server) live(w http.ResponseWriter, _ *http.Request) { writeText(w, "ok\n") }

// ready answers 503 until streams are served, and again when a clean stop has begun.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if reason := s.waiting.Load(); reason != nil {
		refuse(w, http.StatusServiceUnavailable, "not ready: "+*reason)
		return
	}
	writeText(w, "ok\n")
}

func (s *Server) apiStatus(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, s.Status())
}

func unknown(w http.ResponseWriter, r *http.Request) {
	refuse(w, http.StatusNotFound, "no page "+quote(r.URL.Path)+": there are / for people, /livez, /readyz, /metrics, /api/status and /api/deadletters")
}

// Problem is the body of every answer that is not a success.
type Problem struct {
	Error string `json:"error"`
}

func refuse(w http.ResponseWriter, code int, reason string) {
	writeJSON(w, code, Problem{Error: reason})
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil { // a Status holds nothing that JSON can't say but a NaN or an infinity
		code, text = http.StatusInternalServerError, []byte(`{"error": "the status has a number that JSON cannot say"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	setNoStore(w)
	w.WriteHeader(code)
	_, _ = w.Write(append(text, '\n')) // the client has gone: there is nobody to tell
}

func writeText(w http.ResponseWriter, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	setNoStore(w)
	_, _ = io.WriteString(w, text)
}

func setNoStore(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// quote makes a client's text harmless in an answer: escaped, and cut to 128 bytes.
func quote(s string) string {
	if len(s) > 128 {
		s = s[:128]
	}
	return strconv.Quote(s)
}
