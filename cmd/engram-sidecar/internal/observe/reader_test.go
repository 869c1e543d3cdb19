package observe

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
)

var noon = time.Date(2026, 8, 1, 12, 0, 0, 0, time.UTC)

func configured(format Format, prefix string) ReaderConfig {
	return ReaderConfig{
		Format: format, Dimensions: 2, IDPrefix: prefix, Now: func() time.Time { return noon },
		Embed: func(s string) []float32 { return []float32{float32(len(s)), 1} },
	}
}

func TestReaderOfText(t *testing.T) {
	in := NewReader(strings.NewReader("\ufefffirst\r\n\n   \n  indented \nno newline"), configured(FormatAuto, "p"))
	for _, want := range []struct {
		line int64
		what string
	}{{1, "first"}, {4, "indented"}, {5, "no newline"}} {
		obs, err := in.Next()
		if err != nil {
			t.Fatal(err)
		}
		episode := &engramv1.Episode{Id: fmt.Sprintf("p-%d", want.line), What: want.what, When: timestamppb.New(noon), Embedding: []float32{float32(len(want.what)), 1}}
		if obs.Line != want.line || !proto.Equal(obs.Episode, episode) {
			t.Errorf("line %d %v, want line %d %v", obs.Line, obs.Episode, want.line, episode)
		}
	}
	if _, err := in.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last line: %v", err)
	}
	if in.Bytes() != 37 {
		t.Errorf("read %d bytes, want 37", in.Bytes())
	}
}

func TestReaderOfJSON(t *testing.T) {
	lines := []struct {
		in   string
		want *engramv1.Episode // nil for an error
		says string
	}{
		{in: `{"what":"hi"}`, want: &engramv1.Episode{What: "hi", Embedding: []float32{2, 1}}},
		{in: `{"id":"a","embedding":[0.5,-1],"whereLocation":"here","importance":0.25}`, want: &engramv1.Episode{Id: "a", Embedding: []float32{0.5, -1}, WhereLocation: "here", Importance: 0.25}},
		{in: `{"where_location":"there","what":"x","when":"2026-08-01T12:00:00Z"}`, want: &engramv1.Episode{WhereLocation: "there", What: "x", Embedding: []float32{1, 1}, When: timestamppb.New(noon)}},
		{in: `{"what":"x","embedding":[1]}`, says: "embedding: expected 2 dimensions, got 1"},
		{in: `{"embedding":[1,"NaN"]}`, says: "embedding: expected finite numbers, got NaN in place 1"},
		{in: `{"embedding":["Infinity",1]}`, says: "got +Inf in place 0"},
		{in: `{"id":"a"}`, says: "expected an embedding, or a text"},
		{in: `{"wat":"x"}`, says: "unknown field"},
		{in: `plain text`, says: "expected a JSON object"},
		{in: `[1,2]`, says: "expected a JSON object"},
		{in: `{"what":"x","id":"` + strings.Repeat("i", 257) + `"}`, says: "id: expected at most 256 bytes, got 257"},
		{in: `{"what":"` + strings.Repeat("w", maxEpisode) + `"}`, says: "expected an episode of at most 262144 bytes"},
		{in: `{"what":"` + strings.Repeat("w", maxLine) + `"}`, says: "expected at most 1048576 bytes, got more"},
		{in: "{\"what\":\"\xff\"}", says: "UTF-8"},
		{in: `{"what":"the end"}`, want: &engramv1.Episode{What: "the end", Embedding: []float32{7, 1}}},
	}
	var input strings.Builder
	for _, l := range lines {
		input.WriteString(l.in + "\n")
	}
	in := NewReader(strings.NewReader(input.String()), configured(FormatAuto, ""))
	for i, l := range lines {
		obs, err := in.Next()
		if l.want != nil {
			if err != nil || !proto.Equal(obs.Episode, l.want) || obs.Line != int64(i+1) {
				t.Errorf("line %d: %v %v, want %v", i+1, obs, err, l.want)
			}
			continue
		}
		var bad *LineError
		if !errors.As(err, &bad) || bad.Line != int64(i+1) || !strings.Contains(err.Error(), l.says) {
			t.Errorf("line %d: error %v does not say %q", i+1, err, l.says)
		}
	}
}

func TestFormatsThatAreGiven(t *testing.T) {
	brace := `{"not": "an episode"`
	obs, err := NewReader(strings.NewReader(brace), configured(FormatText, "")).Next()
	if err != nil || obs.Episode.What != brace {
		t.Errorf("as text: %v, %v", obs, err)
	}
	if _, err := NewReader(strings.NewReader("words"), configured(FormatJSON, "")).Next(); err == nil {
		t.Error("words were taken for JSON")
	}
	in := NewReader(strings.NewReader("words\n{\"what\":\"x\"}"), configured(FormatAuto, ""))
	_, _ = in.Next()
	if obs, err := in.Next(); err != nil || obs.Episode.What != `{"what":"x"}` {
		t.Errorf("a later line changed the format: %v, %v", obs, err)
	}
	if _, err := NewReader(strings.NewReader("\xff\xfe"), configured(FormatText, "")).Next(); err == nil {
		t.Error("text that is not UTF-8 was taken")
	}
}

func TestLatencies(t *testing.T) {
	var l latencies
	if l.percentile(50) != 0 {
		t.Error("a percentile of nothing")
	}
	for i := 1; i <= 1000; i++ {
		l.add(time.Duration(i) * time.Microsecond)
	}
	for p, want := range map[float64]time.Duration{0: time.Microsecond, 50: 500 * time.Microsecond, 99: 990 * time.Microsecond, 100: time.Millisecond} {
		got := l.percentile(p)
		if got < want || float64(got) > 1.07*float64(want) {
			t.Errorf("p%v = %v, want %v to 7 %% more", p, got, want)
		}
	}
	l.add(-time.Second)
	if l.percentile(0) != 0 {
		t.Error("a negative duration is not counted as 0")
	}
}

func TestBucketsMeet(t *testing.T) {
	for i := range 60*16 - 1 {
		end := endOf(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in %d, and the next value in %d", i, end, bucketOf(end), bucketOf(end+1))
		}
	}
}

func TestSummaryText(t *testing.T) {
	s := Summary{
		Session: "abc", Closed: true, LastAcked: 12, Sent: 10, Acked: 9, Resent: 3, Reconnects: 2, Known: 2, Skipped: 1,
		Seconds: 12.3, Rate: 800.4, P50: 0.00123456, P99: 1.23456, Store: "2 dead",
	}
	want := `sent 10, acked 9, 800/s, ack p50 1.23ms, p99 1.23s, in 12s
connection lost and regained 2 times, 3 observations sent again
2 observations left out: the session had them already
1 invalid lines left out
2 dead
session abc, closed after observation 12
`
	if got := s.String(); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := (Summary{P50: 0.0000005}).String(); got != "sent 0, acked 0, 0/s, ack p50 1µs, p99 0s, in 0s\n" {
		t.Errorf("of nothing: %q", got)
	}
}
