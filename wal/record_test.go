package wal

import (
	"strings"
	"testing"
)

func TestNamesOfValuesThatStandOnDisk(t *testing.T) {
	for _, c := range []struct {
		value any
		on    int
		want  string
	}{
		{KindHead, 1, "head"},
		{KindSessionOpened, 2, "session opened"},
		{KindSessionClosed, 3, "session closed"},
		{KindSessionExpired, 4, "session expired"},
		{KindWrite, 5, "write"},
		{KindCarriedSession, 6, "carried session"},
		{KindCarriedLetter, 7, "carried letter"},
		{KindReleased, 8, "released"},
		{KindSettled, 9, "settled"},
		{Kind(0), 0, "kind 0"},
		{Kind(77), 77, "kind 77"},
		{FormNone, 0, "form 0"},
		{FormEpisode, 1, "Episode"},
		{FormRemember, 2, "RememberRequest"},
		{FormExperience, 3, "ExperienceRequest"},
		{LaneHigh, 1, "high"},
		{LaneNormal, 2, "normal"},
		{LaneLow, 3, "low"},
		{Lane(0), 0, "lane 0"},
		{Delivered, 1, "delivered"},
		{Dead, 2, "dead"},
		{Dropped, 3, "dropped"},
		{Damaged, 4, "damaged"},
		{Fate(9), 9, "fate 9"},
	} {
		var on int
		var name string
		switch v := c.value.(type) {
		case Kind:
			on, name = int(v), v.String()
		case Form:
			on, name = int(v), v.String()
		case Lane:
			on, name = int(v), v.String()
		case Fate:
			on, name = int(v), v.String()
		}
		if on != c.on || name != c.want {
			t.Errorf("%T %d is %q, want %d and %q", c.value, on, name, c.on, c.want)
		}
	}
}

func TestParseLane(t *testing.T) {
	for _, l := range []Lane{LaneHigh, LaneNormal, LaneLow} {
		if got, err := ParseLane(l.String()); err != nil || got != l {
			t.Errorf("ParseLane(%q) = %v, %v", l, got, err)
		}
	}
	for _, s := range []string{"", "High", "lane 0"} {
		if _, err := ParseLane(s); err == nil || !strings.Contains(err.Error(), "expected high, normal or low") {
			t.Errorf("ParseLane(%q): %v", s, err)
		}
	}
}

func TestSessionIDText(t *testing.T) {
	id := SessionID{0x01, 15: 0xff}
	const text = "01000000-0000-0000-0000-0000000000ff"
	if id.String() != text || id.IsZero() || !(SessionID{}).IsZero() {
		t.Error(id)
	}
	if got, err := ParseSessionID(text); err != nil || got != id {
		t.Error(got, err)
	}
	if _, err := ParseSessionID("nonsense"); err == nil || !strings.Contains(err.Error(), `"nonsense": expected a UUID`) {
		t.Error(err)
	}
}
