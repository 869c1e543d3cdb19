package admin

import (
	"context"
	"net/http"
)

// Session is one that is known, open or closed.
type Session struct {
	ID        string `json:"id"`
	Space     string `json:"space"`
	Priority  string `json:"priority"`
	State     string `json:"state"`     // active, paused or closed
	Connected bool   `json:"connected"` // a stream has it
	Waiting   int    `json:"waiting"`   // streams that wait until an earlier one has let it go
	Accepted  uint64 `json:"accepted"`  // last sequence that was taken into the journal
	Durable   uint64 `json:"durable"`   // last one that is on disk
	Pending   uint64 `json:"pending"`   // observations that the store does not have yet
	Dead      uint64 `json:"dead"`      // that it refused for good
}

// Drained says how far a drain has come.
type Drained struct {
	Draining bool   `json:"draining"`
	Stop     bool   `json:"stop"` // the process ends when it is empty
	Empty    bool   `json:"empty"`
	Streams  int    `json:"streams"`
	Pending  uint64 `json:"pending"`
}

// Operator is what an operator can do to a running sidecar. Its methods may be called concurrently.
type Operator interface {
	// Sessions lists those that are known, by id.
	Sessions() []Session
	// CloseSession closes one for good and returns its last sequence; ok is false where it is not known or closed already.
	CloseSession(ctx context.Context, id string) (last uint64, ok bool, err error)
	// Drain makes the sidecar refuse new sessions, or take them again; with stop it ends when it is empty.
	Drain(on, stop bool) Drained
	// Drained says how far that has come.
	Drained() Drained
}

// SetOperator says who does what operators ask. Before that they are told to come back.
func (s *Server) SetOperator(o Operator) { s.operator.Store(&o) }

// operated serves what needs an operator.
func (s *Server) operated(page func(Operator, http.ResponseWriter, *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		o := s.operator.Load()
		if o == nil {
			refuse(w, http.StatusServiceUnavailable, "the sidecar is recovering: ask again when /readyz says ok")
			return
		}
		page(*o, w, r)
	}
}

func (s *Server) routeOperator(mux *http.ServeMux) {
	read(mux, "/api/sessions", s.operated(listSessions))
	read(mux, "/api/sessions/{id}", s.operated(showSession))
	act(mux, "/api/sessions/{id}/close", s.operated(closeSession))
	read(mux, "/api/drained", s.operated(func(o Operator, w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, o.Drained()) }))
	act(mux, "/api/drain", s.operated(drain))
}

func listSessions(o Operator, w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, o.Sessions())
}

func showSession(o Operator, w http.ResponseWriter, r *http.Request) {
	for _, s := range o.Sessions() {
		if s.ID == r.PathValue("id") {
			writeJSON(w, http.StatusOK, s)
			return
		}
	}
	refuse(w, http.StatusNotFound, "session "+quote(r.PathValue("id"))+" is not known: it never was, or it is forgotten")
}

func closeSession(o Operator, w http.ResponseWriter, r *http.Request) {
	last, ok, err := o.CloseSession(r.Context(), r.PathValue("id"))
	switch {
	case err != nil && ok:
		refuse(w, http.StatusServiceUnavailable, err.Error())
	case err != nil:
		refuse(w, http.StatusNotFound, err.Error())
	default:
		writeJSON(w, http.StatusOK, map[string]any{"id": r.PathValue("id"), "last": last})
	}
}

// drain is asked by query: off ends it, stop ends the process when it is empty.
func drain(o Operator, w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	writeJSON(w, http.StatusOK, o.Drain(!q.Has("off"), q.Has("stop")))
}
