package admin

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

// fakeDesk notes what it is asked.
type fakeDesk struct {
	sel    Selection
	after  uint64
	limit  int
	action string
	err    error
}

func (f *fakeDesk) List(sel Selection, after uint64, limit int) (LetterPage, error) {
	f.sel, f.after, f.limit = sel, after, limit
	if len(sel.Indexes) > 0 && sel.Indexes[0] != 7 {
		return LetterPage{Letters: []DeadLetter{}}, f.err
	}
	return LetterPage{Count: 2, Letters: []DeadLetter{{Index: 7, Reason: "no"}}, Next: 7}, f.err
}

func (f *fakeDesk) Replay(_ context.Context, sel Selection) (LetterResults, error) {
	f.action, f.sel = "replay", sel
	return LetterResults{Results: []LetterResult{{Index: 7, Outcome: OutcomeDelivered}}}, f.err
}

func (f *fakeDesk) Drop(_ context.Context, sel Selection) (LetterResults, error) {
	f.action, f.sel = "drop", sel
	return LetterResults{Results: []LetterResult{{Index: 7, Outcome: OutcomeDropped}}}, f.err
}

// call sends a request with a body and returns the code and the body of its answer.
func (f fixture) call(t *testing.T, method, path, body string, header ...string) (int, string) {
	t.Helper()
	a := f.ask(t, method, path, func(r *http.Request) {
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
	})
	return a.code, a.body
}

func TestDeadLettersAreListed(t *testing.T) {
	desk := &fakeDesk{}
	f := startWith(t, sample, func(s *Server) { s.SetDeadLetters(desk) })
	code, text := f.call(t, "GET", "/api/deadletters?id=a&space=b&reason=c&after=5&limit=3", "")
	var page LetterPage
	if err := json.Unmarshal([]byte(text), &page); code != 200 || err != nil || page.Next != 7 || page.Letters[0].Reason != "no" {
		t.Errorf("%d %s", code, text)
	}
	if want := (Selection{ID: "a", Space: "b", Reason: "c"}); !reflect.DeepEqual(desk.sel, want) || desk.after != 5 || desk.limit != 3 {
		t.Errorf("asked for %+v after %d, %d of them", desk.sel, desk.after, desk.limit)
	}
	if f.call(t, "GET", "/api/deadletters?limit=99999999", ""); desk.limit != mostListed {
		t.Errorf("a page of %d", desk.limit)
	}
	if code, text = f.call(t, "GET", "/api/deadletters/7", ""); code != 200 || !strings.Contains(text, `"reason": "no"`) {
		t.Errorf("%d %s", code, text)
	}
}

func TestDeadLettersRefuse(t *testing.T) {
	desk := &fakeDesk{}
	f := startWith(t, sample, func(s *Server) { s.SetDeadLetters(desk) })
	const ours = "X-Engram-Sidecar"
	for _, c := range []struct {
		method, path, body string
		header             []string
		code               int
		says               string
	}{
		{"GET", "/api/deadletters?after=x", "", nil, 400, `after: expected a number, got \"x\"`},
		{"GET", "/api/deadletters?limt=1", "", nil, 400, `unknown parameter \"limt\"`},
		{"GET", "/api/deadletters/8", "", nil, 404, "no dead letter has index 8"},
		{"GET", "/api/deadletters/eight", "", nil, 400, `expected the index of a dead letter, got \"eight\"`},
		{"GET", "/api/deadletters/replay", "", nil, 405, "use POST"},
		{"POST", "/api/deadletters", "{}", []string{ours, "1"}, 405, "use GET"},
		{"POST", "/api/deadletters/replay", `{"all":true}`, nil, 403, "needs the header X-Engram-Sidecar: 1"},
		{"POST", "/api/deadletters/drop", `{"all":true}`, []string{ours, "yes"}, 403, "needs the header"},
		{"POST", "/api/deadletters/drop", `{"all":true}`, []string{ours, "1", "Origin", "http://evil.example"}, 403, "other web pages"},
		{"POST", "/api/deadletters/drop", ``, []string{ours, "1"}, 400, "the body is no selection"},
		{"POST", "/api/deadletters/drop", `{"indexs":[7]}`, []string{ours, "1"}, 400, "unknown field"},
		{"POST", "/api/deadletters/drop", `{}`, []string{ours, "1"}, 400, "got none of them"},
		{"POST", "/api/deadletters/drop", `{"all":true,"id":"a"}`, []string{ours, "1"}, 400, "all goes with no index"},
		{"POST", "/api/deadletters/replay", `{"id":"` + strings.Repeat("x", maxAction) + `"}`, []string{ours, "1"}, 400, "too large"},
	} {
		code, text := f.call(t, c.method, c.path, c.body, c.header...)
		if code != c.code || !strings.Contains(text, c.says) {
			t.Errorf("%s %s %.40s: %d %s, want %d %q", c.method, c.path, c.body, code, text, c.code, c.says)
		}
	}
	if desk.action != "" {
		t.Errorf("%s was done", desk.action)
	}
	early := start(t, sample)
	if code, text := early.call(t, "GET", "/api/deadletters", ""); code != 503 || !strings.Contains(text, "recovering") {
		t.Errorf("while recovering: %d %s", code, text)
	}
}

func TestDeadLettersAreSettled(t *testing.T) {
	desk := &fakeDesk{}
	f := startWith(t, sample, func(s *Server) { s.SetDeadLetters(desk) })
	for _, action := range []string{"replay", "drop"} {
		code, text := f.call(t, "POST", "/api/deadletters/"+action, `{"indexes":[7,8]}`, "X-Engram-Sidecar", "1")
		if code != 200 || !strings.Contains(text, `"index": 7`) || desk.action != action || !reflect.DeepEqual(desk.sel.Indexes, []uint64{7, 8}) {
			t.Errorf("%s: %d %s, asked %s %+v", action, code, text, desk.action, desk.sel)
		}
	}
	desk.err = errors.New("the store is gone")
	if code, text := f.call(t, "POST", "/api/deadletters/replay", `{"all":true}`, "X-Engram-Sidecar", "1"); code != 200 ||
		!strings.Contains(text, `"error": "the store is gone"`) || !strings.Contains(text, `"index": 7`) {
		t.Errorf("what was done before is not told: %d %s", code, text)
	}
	if code, _ := f.call(t, "GET", "/api/deadletters", ""); code != 500 {
		t.Errorf("a ledger that cannot be read: %d", code)
	}
}
