package store_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/envelope"
	"github.com/engram-sidecar/engram-sidecar/proxy/store"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 5, time.UTC)

func circumstances(t *testing.T, form wal.Form, m proto.Message) *envelope.Circumstances {
	t.Helper()
	body, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var c envelope.Circumstances
	if err := store.CircumstancesOf(form, body, &c); err != nil {
		t.Fatal(err)
	}
	return &c
}

func TestFilter(t *testing.T) {
	e := &engramv1.Episode{When: timestamppb.New(noon), WhereLocation: "kitchen", Who: []string{"ann", "bob"}, What: "tea"}
	m := &engramv1.Memory{CreatedAt: timestamppb.New(noon), Tags: []string{"red", "old"}}
	episodes := map[string]*envelope.Circumstances{
		"episode":    circumstances(t, wal.FormEpisode, e),
		"remembered": circumstances(t, wal.FormRemember, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Episode{Episode: e}}),
		"experience": circumstances(t, wal.FormExperience, &engramv1.ExperienceRequest{Episode: e}),
	}
	memories := map[string]*envelope.Circumstances{
		"memory":   circumstances(t, store.FormMemory, m),
		"remember": circumstances(t, wal.FormRemember, &engramv1.RememberRequest{MemoryType: &engramv1.RememberRequest_Memory{Memory: m}}),
	}
	timeless := map[string]*envelope.Circumstances{"timeless": circumstances(t, wal.FormEpisode, &engramv1.Episode{WhereLocation: "kitchen"})}
	for _, row := range []struct {
		name     string
		filter   store.Filter
		episodes bool
		memories bool
		timeless bool
	}{
		{"nothing asked", store.Filter{}, true, true, true},
		{"from that very moment", store.Filter{From: noon}, true, true, false},
		{"from the next", store.Filter{From: noon.Add(1)}, false, false, false},
		{"to that moment", store.Filter{To: noon}, false, false, false},
		{"to the next", store.Filter{To: noon.Add(1)}, true, true, false},
		{"place", store.Filter{Place: "kitchen"}, true, false, true},
		{"another place", store.Filter{Place: "kitchen "}, false, false, false},
		{"one of the people", store.Filter{People: []string{"bob"}}, true, false, false},
		{"all of them", store.Filter{People: []string{"bob", "ann"}}, true, false, false},
		{"one too many", store.Filter{People: []string{"bob", "eve"}}, false, false, false},
		{"a tag", store.Filter{With: []string{"old"}}, false, true, false},
		{"a tag too many", store.Filter{With: []string{"old", "new"}}, false, false, false},
		{"none of these", store.Filter{Without: []string{"new", "red"}}, true, false, true},
		{"all at once", store.Filter{From: noon, To: noon.Add(1), Place: "kitchen", People: []string{"ann"}}, true, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if row.filter.IsZero() != (row.name == "nothing asked") {
				t.Errorf("is zero: %v", row.filter.IsZero())
			}
			for want, some := range map[*bool]map[string]*envelope.Circumstances{&row.episodes: episodes, &row.memories: memories, &row.timeless: timeless} {
				for name, c := range some {
					if got := row.filter.Match(c); got != *want {
						t.Errorf("%s: %v, want %v", name, got, *want)
					}
				}
			}
		})
	}
}

func TestLater(t *testing.T) {
	at := func(seconds int64, nanos int32, id string) store.Moment {
		return store.Moment{When: envelope.Timestamp{Seconds: seconds, Nanos: nanos}, HasWhen: true, ID: id}
	}
	got := []store.Moment{{ID: "b"}, at(5, 1, "x"), at(-9, 0, "old"), {ID: "a"}, at(5, 2, "y"), at(5, 1, "w")}
	slices.SortFunc(got, store.Later)
	var ids []string
	for _, m := range got {
		ids = append(ids, m.ID)
	}
	if s := strings.Join(ids, " "); s != "y w x old a b" {
		t.Errorf("ordered %s", s)
	}
}

func TestCircumstancesOfAnUnknownForm(t *testing.T) {
	if err := store.CircumstancesOf(200, nil, &envelope.Circumstances{}); err == nil || !strings.Contains(err.Error(), "form") {
		t.Errorf("got %v", err)
	}
	if err := store.CircumstancesOf(wal.FormEpisode, []byte{0x12, 0xff}, &envelope.Circumstances{}); err == nil {
		t.Error("a message that is cut short was read")
	}
}
