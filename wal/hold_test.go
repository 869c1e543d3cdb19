package wal

import (
	"context"
	"errors"
	"testing"
)

func TestAHoldPutsReleasesOff(t *testing.T) {
	dir := t.TempDir()
	j := filled(t, Config{Dir: dir})
	g := j.Generations()[1]
	hold, err := HoldReleases(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := j.Release(t.Context(), g.Number, delivered(g)); !errors.Is(err, ErrHeld) {
		t.Fatalf("released under a hold: %v", err)
	}
	if got := j.Generations()[1]; got != g {
		t.Errorf("generation %+v, before the hold %+v", got, g)
	}
	put(t, j, 1, 81, 100) // records are taken all the same
	if err := hold.LetGo(); err != nil {
		t.Fatal(err)
	}
	if err := j.Release(t.Context(), g.Number, delivered(g)); err != nil {
		t.Errorf("after the hold: %v", err)
	}
}

func TestAHoldWaitsForTheOneBefore(t *testing.T) {
	dir := t.TempDir()
	first, err := HoldReleases(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := HoldReleases(over, dir); !errors.Is(err, ErrHeld) || !errors.Is(err, context.Canceled) {
		t.Errorf("a second hold: %v", err)
	}
	got := make(chan error, 1)
	go func() { // ends with the first hold
		second, err := HoldReleases(t.Context(), dir)
		if err == nil {
			err = second.LetGo()
		}
		got <- err
	}()
	if err := first.LetGo(); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Error(err)
	}
	if _, err := HoldReleases(t.Context(), dir+"/nowhere"); err == nil {
		t.Error("held what is not there")
	}
}

func TestLockHolder(t *testing.T) {
	dir := t.TempDir()
	ask := func(want bool) {
		t.Helper()
		who, err := LockHolder(dir)
		if err != nil || (who != "") != want {
			t.Errorf("held by %q, %v", who, err)
		}
	}
	ask(false)
	lock, err := AcquireLock(dir)
	if err != nil {
		t.Fatal(err)
	}
	ask(true)
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	ask(false)
}
