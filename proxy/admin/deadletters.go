package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// DeadLetters is where the dead letters are listed and settled. Its methods may be called concurrently.
type DeadLetters interface {
	// List returns the letters that are selected behind index after, ascending, at most limit.
	List(sel Selection, after uint64, limit int) (LetterPage, error)
	// Replay hands letters to the store once more; Drop gives them up. Both return what became of each. The error says why
	// they ended early.
	Replay(ctx context.Context, sel Selection) (LetterResults, error)
	Drop(ctx context.Context, sel Selection) (LetterResults, error)
}

// DeadLetter is an observation that the store refused for good, without what it says.
type DeadLetter struct {
	Index      uint64    `json:"index"` // place in the journal; it names the letter
	Space      string    `json:"space"`
	ID         string    `json:"id"`      // memory id
	Session    string    `json:"session"` // "" where it came without one
	Sequence   uint64    `json:"sequence"`
	Lane       string    `json:"lane"`
	Form       string    `json:"form"`
	Bytes      int       `json:"bytes"`
	Reason     string    `json:"reason"`   // the store's own words
	Attempts   int       `json:"attempts"` // how often the store refused it
	AcceptedAt time.Time `json:"accepted_at"`
	DiedAt     time.Time `json:"died_at"`
	Superseded bool      `json:"superseded"` // a newer version of its id is known to have been accepted: it is not replayed
}

// LetterPage is part of a list.
type LetterPage struct {
	Count    int          `json:"count"` // all there are, selected or not
	Bytes    int64        `json:"bytes"`
	MaxCount int          `json:"max_count"` // 0 is no limit
	MaxBytes int64        `json:"max_bytes"`
	Letters  []DeadLetter `json:"letters"`
	Next     uint64       `json:"next"` // after this index the list goes on; 0 at its end
}

// Selection says which letters are meant: those that fit everything that is set.
type Selection struct {
	Indexes []uint64 `json:"indexes,omitempty"`
	ID      string   `json:"id,omitempty"`
	Space   string   `json:"space,omitempty"`
	Reason  string   `json:"reason,omitempty"` // a part of the store's words, in upper or lower case
	All     bool     `json:"all,omitempty"`    // nothing else is set, and every letter is meant
}

// Empty says that nothing was chosen.
func (s Selection) Empty() bool {
	return len(s.Indexes) == 0 && s.ID == "" && s.Space == "" && s.Reason == ""
}

// Validate refuses a selection for an action that names nothing, or all and something.
func (s Selection) Validate() error {
	switch {
	case s.Empty() && !s.All:
		return errors.New("which dead letters: expected indexes, an id, a space, a reason or all, got none of them")
	case s.All && !s.Empty():
		return errors.New("which dead letters: all goes with no index, id, space or reason")
	}
	return nil
}

// Fits says whether a letter is selected, but for its index.
func (s Selection) Fits(d *DeadLetter) bool {
	return (s.ID == "" || s.ID == d.ID) && (s.Space == "" || s.Space == d.Space) &&
		(s.Reason == "" || strings.Contains(strings.ToLower(d.Reason), strings.ToLower(s.Reason)))
}

// The outcomes of a Replay or Drop of one letter.
const (
	OutcomeDelivered  = "delivered"  // the store has it; it is a dead letter no more
	OutcomeDropped    = "dropped"    // given up; likewise
	OutcomeSuperseded = "superseded" // a newer version of its id was accepted: left as it is
	OutcomeRefused    = "refused"    // by the store, once more
	OutcomeFailed     = "failed"     // the store could not take it now
	OutcomeNotTried   = "not tried"  // it ended before
	OutcomeMissing    = "missing"    // no dead letter has the index
)

// LetterResult is what became of one letter.
type LetterResult struct {
	Index   uint64 `json:"index"`
	ID      string `json:"id"`
	Outcome string `json:"outcome"`
	Message string `json:"message"` // the store's words, "" where there is nothing to say
}

// LetterResults is what became of those that were selected.
type LetterResults struct {
	Results []LetterResult `json:"results"`
	Error   string         `json:"error"` // why it ended early, "" where it did not
}

// SetDeadLetters makes /api/deadletters answer. It may be called at any time.
func (s *Server) SetDeadLetters(d DeadLetters) { s.letters.Store(&d) }

func (s *Server) routeDeadLetters(mux *http.ServeMux) {
	read(mux, "/api/deadletters", s.listLetters)
	read(mux, "/api/deadletters/{index}", s.showLetter)
	act(mux, "/api/deadletters/replay", s.settleLetters(DeadLetters.Replay))
	act(mux, "/api/deadletters/drop", s.settleLetters(DeadLetters.Drop))
}

// desk is where the letters are, or nil, and then it has answered.
func (s *Server) desk(w http.ResponseWriter) DeadLetters {
	if d := s.letters.Load(); d != nil {
		return *d
	}
	refuse(w, http.StatusServiceUnavailable, "dead letters are not known yet: the sidecar is recovering")
	return nil
}

// mostListed bounds one page of the list.
const mostListed = 1000

func (s *Server) listLetters(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for key := range q {
		if !strings.Contains(" id space reason after limit ", " "+key+" ") {
			refuse(w, http.StatusBadRequest, "unknown parameter "+quote(key)+": there are id, space, reason, after and limit")
			return
		}
	}
	after, err1 := number(q, "after", 0)
	limit, err2 := number(q, "limit", mostListed)
	if err := errors.Join(err1, err2); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	d := s.desk(w)
	if d == nil {
		return
	}
	sel := Selection{ID: q.Get("id"), Space: q.Get("space"), Reason: q.Get("reason")}
	page, err := d.List(sel, after, int(min(max(limit, 1), mostListed)))
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	writeJSON(w, http.StatusOK, page)
}

func number(q url.Values, key string, usual uint64) (uint64, error) {
	text := q.Get(key)
	if text == "" {
		return usual, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: expected a number, got %s", key, quote(text))
	}
	return n, nil
}

func (s *Server) showLetter(w http.ResponseWriter, r *http.Request) {
	index, err := strconv.ParseUint(r.PathValue("index"), 10, 64)
	if err != nil {
		refuse(w, http.StatusBadRequest, "expected the index of a dead letter, got "+quote(r.PathValue("index")))
		return
	}
	d := s.desk(w)
	if d == nil {
		return
	}
	page, err := d.List(Selection{Indexes: []uint64{index}}, 0, 1)
	switch {
	case err != nil:
		refuse(w, http.StatusInternalServerError, err.Error())
	case len(page.Letters) == 0:
		refuse(w, http.StatusNotFound, fmt.Sprintf("no dead letter has index %d", index))
	default:
		writeJSON(w, http.StatusOK, page.Letters[0])
	}
}

// settleLetters serves a POST whose body is a Selection. It takes as long as the store takes.
func (s *Server) settleLetters(do func(DeadLetters, context.Context, Selection) (LetterResults, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var sel Selection
		body := json.NewDecoder(r.Body)
		body.DisallowUnknownFields()
		err := body.Decode(&sel)
		if err != nil {
			err = fmt.Errorf(`the body is no selection such as {"indexes": [7]} or {"all": true}: %w`, err)
		} else {
			err = sel.Validate()
		}
		if err != nil {
			refuse(w, http.StatusBadRequest, err.Error())
			return
		}
		d := s.desk(w)
		if d == nil {
			return
		}
		c := http.NewResponseController(w)
		if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})); err != nil {
			refuse(w, http.StatusInternalServerError, err.Error())
			return
		}
		out, err := do(d, r.Context(), sel)
		if err != nil {
			out.Error = err.Error()
		}
		writeJSON(w, http.StatusOK, out)
	}
}
