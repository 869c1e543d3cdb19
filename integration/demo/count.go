package main

import (
	"context"
	"errors"
	"fmt"
)

// tally is the comparison of what was acknowledged with what the store holds.
type tally struct {
	stored     int // memories in the store
	missing    int // sentences that were acknowledged and are not there
	duplicates int // memories above one for a sentence
	foreign    int // memories with a text that was never sent
}

// compare counts. Ids are the sidecar's own, so it is the texts that tell.
func compare(lines []string, memories map[string]string) tally {
	t := tally{stored: len(memories)}
	there := make(map[string]int, len(lines))
	for _, line := range lines {
		there[line] = 0
	}
	for _, text := range memories {
		if _, sent := there[text]; !sent {
			t.foreign++
			continue
		}
		there[text]++
	}
	for _, n := range there {
		if n == 0 {
			t.missing++
		}
		t.duplicates += max(n-1, 0)
	}
	return t
}

// count reads the store back, prints what it finds, and fails when the promise was not kept.
func count(ctx context.Context, s *sidecar, lines []string, sum summary) error {
	memories, err := s.everything(ctx)
	if err != nil {
		return err
	}
	st, err := s.state()
	if err != nil {
		return err
	}
	t := compare(lines, memories)
	fmt.Printf("\nsent        %d (%d of them again after a kill; %d connections lost and regained)\n", sum.Sent, sum.Resent, sum.Reconnects)
	fmt.Printf("acked       %d\n", sum.Acked)
	fmt.Printf("stored      %d, read back one by one; the store itself counts %d\n", t.stored, st.Store.Stored)
	fmt.Printf("missing     %d\n", t.missing)
	fmt.Printf("duplicates  %d\n", t.duplicates)
	b := st.Balance
	fmt.Printf("balance     accepted %d = delivered %d + pending %d + dead %d + damaged %d\n", b.Accepted, b.Delivered, b.Pending, b.Dead, b.Damaged)
	fmt.Printf("ack p50     %.1f ms, p99 %.0f ms, the outages included\n", 1000*sum.P50, 1000*sum.P99)

	return judge(len(lines), t, st, sum)
}

// judge says what is not as it was promised.
func judge(lines int, t tally, st state, sum summary) error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if want := uint64(lines); sum.Acked != want {
		wrong("%d of %d sentences were acknowledged", sum.Acked, want)
	}
	if t.missing > 0 || t.duplicates > 0 || t.foreign > 0 {
		wrong("%d sentences are missing, %d are there too often, %d memories were never sent", t.missing, t.duplicates, t.foreign)
	}
	if uint64(t.stored) != st.Store.Stored {
		wrong("%d memories were read back, the store counts %d", t.stored, st.Store.Stored)
	}
	if b := st.Balance; b.Delivered != b.Accepted || b.Accepted != sum.Acked {
		wrong("%d were acknowledged, %d accepted, %d delivered", sum.Acked, b.Accepted, b.Delivered)
	}
	return errors.Join(errs...)
}
