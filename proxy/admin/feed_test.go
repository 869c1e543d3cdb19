package admin

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// listen opens the dashboard's stream; the returned function reads its next event.
func (f fixture) listen(t *testing.T, change ...func(*http.Request)) (next func() (name, data string, err error)) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+f.addr+pathEvents, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() }) // it may have ended
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("the stream began with %s %v", resp.Status, resp.Header)
	}
	lines := bufio.NewReader(resp.Body)
	return func() (name, data string, err error) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return "", "", err
			}
			if text, ok := strings.CutPrefix(line, "event: "); ok {
				name = strings.TrimSpace(text)
			} else if text, ok := strings.CutPrefix(line, "data: "); ok {
				data = text
			} else if line == "\n" {
				return name, data, nil
			}
		}
	}
}

// TestPagesShareTheSamples: the status is taken at the same pace however many pages look on; a page that comes later is told
// what was before.
func TestPagesShareTheSamples(t *testing.T) {
	var taken atomic.Int64
	f := start(t, func() Status { taken.Add(1); return sample() })
	first := f.listen(t)
	for _, want := range []string{"history", "update", "update"} {
		if name, _, err := first(); err != nil || name != want {
			t.Fatalf("event %q, %v, want %s", name, err, want)
		}
	}
	before := taken.Load()
	var pages []func() (string, string, error)
	for range 10 {
		pages = append(pages, f.listen(t))
	}
	var seen update
	for _, next := range pages {
		name, data, err := next()
		var history []Sample
		if err != nil || name != "history" || json.Unmarshal([]byte(data), &history) != nil || len(history) < 2 {
			t.Fatalf("first came %q with %d samples, %v, want the history", name, len(history), err)
		}
		for range 2 {
			if name, data, err = next(); err != nil || name != "update" || json.Unmarshal([]byte(data), &seen) != nil {
				t.Fatalf("then came %q %s, %v, want an update", name, data, err)
			}
		}
	}
	if n, samples := taken.Load()-before, seen.Sample.At/1000; n > 20 || samples == 0 {
		t.Errorf("the status was taken %d times for 10 pages and two samples", n)
	}
	if seen.Status.Balance != sample().Balance || seen.Sample.Normal != 20 || seen.Sample.Pressure != 0.5 || seen.Damages != 1 {
		t.Errorf("the update says %+v", seen)
	}
}

func TestASlowPageIsCutOff(t *testing.T) {
	var f feed
	slow, _, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	quick, _, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	for range readerBehind + 1 {
		f.publish(Sample{}, []byte("{}"))
		if _, ok := <-quick; !ok {
			t.Fatal("a page that keeps up was cut off")
		}
	}
	for range readerBehind {
		if _, ok := <-slow; !ok {
			t.Fatal("what was sent in time is lost")
		}
	}
	if _, ok := <-slow; ok || f.count() != 1 {
		t.Errorf("%d pages are open, want only the one that keeps up", f.count())
	}
}

// TestAPageThatDoesNotReadCostsNobody: over the network the buffers between fill first.
func TestAPageThatDoesNotReadCostsNobody(t *testing.T) {
	f := start(t, sample)
	stuck := f.listen(t)
	if _, _, err := stuck(); err != nil {
		t.Fatal(err)
	}
	big := append(append([]byte(`"`), bytes.Repeat([]byte("x"), 1<<20)...), '"')
	began := time.Now()
	for f.feed.count() > 0 {
		f.feed.publish(Sample{}, big) // never waits
		time.Sleep(time.Millisecond)
		if time.Since(began) > 60*time.Second {
			t.Fatal("a page that reads nothing was not cut off within a minute")
		}
	}
}

func TestTooManyPages(t *testing.T) {
	f := start(t, sample)
	for range maxReaders {
		if _, _, err := f.feed.open(); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.ask(t, "GET", pathEvents); got.code != 503 || !strings.Contains(got.body, "32 pages") {
		t.Errorf("one too many: %d %s", got.code, got.body)
	}
}

func TestAStopEndsTheStreams(t *testing.T) {
	var next func() (string, string, error)
	t.Run("running", func(t *testing.T) {
		f := start(t, sample) // stopped at the end of this part, which fails where a stream holds it up
		next = f.listen(t)
		if _, _, err := next(); err != nil {
			t.Fatal(err)
		}
		if err := f.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		var err error
		for err == nil {
			_, _, err = next()
		}
		if !errors.Is(err, io.EOF) {
			t.Errorf("the stream ended with %v, want its proper end", err)
		}
		if _, _, err := f.feed.open(); !errors.Is(err, errFeedClosed) {
			t.Errorf("a page that comes later: %v", err)
		}
	})
}

// TestATokenTakenBackEndsTheStream: what was allowed at the beginning is asked for each second.
func TestATokenTakenBackEndsTheStream(t *testing.T) {
	var taken atomic.Bool
	f := startWith(t, sample, func(s *Server) {
		s.RequireToken(func(token string) bool { return token == "right" && !taken.Load() })
	})
	if got := f.ask(t, "GET", pathEvents); got.code != 401 {
		t.Errorf("without a token: %d %s", got.code, got.body)
	}
	next := f.listen(t, func(r *http.Request) { r.Header.Set("Authorization", "Bearer right") })
	if name, _, err := next(); err != nil || name != "history" {
		t.Fatalf("%q, %v", name, err)
	}
	taken.Store(true)
	var err error
	for err == nil {
		_, _, err = next()
	}
	if !errors.Is(err, io.EOF) {
		t.Errorf("the stream ended with %v", err)
	}
}

func TestRatesAndManyDamages(t *testing.T) {
	at := time.Unix(1000, 0)
	status := sample()
	for range 100 {
		status.Recovery.Damages = append(status.Recovery.Damages, Damage{Reason: "rot"})
	}
	s := &sampler{server: New(nil, NewMetrics(), func() Status { return status })}
	if first, _ := s.sample(at); first.Accepted != 0 || first.Delivered != 0 {
		t.Errorf("a rate was made of the first sample: %+v", first)
	}
	status.Balance.Accepted += 30
	status.Balance.Delivered += 10
	status.Edge.Refused = map[string]uint64{"sequence": 8, "invalid": 1}
	now, text := s.sample(at.Add(2 * time.Second))
	if now.Accepted != 15 || now.Delivered != 5 || now.Refused != 1 {
		t.Errorf("rates %+v, want 15, 5 and 1 a second", now)
	}
	var u update
	if err := json.Unmarshal(text, &u); err != nil || u.Damages != 101 || len(u.Status.Recovery.Damages) != damagesShown {
		t.Errorf("told of %d damages and showed %d, %v", u.Damages, len(u.Status.Recovery.Damages), err)
	}
	status.Balance.Accepted = 0
	if now, _ := s.sample(at.Add(3 * time.Second)); now.Accepted != 0 {
		t.Errorf("a counter that fell made a rate of %v", now.Accepted)
	}
}
