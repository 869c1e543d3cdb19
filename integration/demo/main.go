package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// kills is how often the sidecar dies on the way.
const kills = 3

// questions are asked at the end. Their answers should make sense to whoever knows what the book is about.
var questions = []string{
	"colours of thin plates of air between two glasses",
	"why do stars twinkle and tremble",
	"do bodies act upon light at a distance and bend its rays",
}

func main() {
	text := flag.String("text", "", "the text to stream (default Newton's Opticks out of the Go installation)")
	flag.Parse()
	if err := run(context.Background(), *text); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, named string) (err error) {
	began := time.Now()
	path, err := findText(named)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("reading the text: %w", err)
	}
	lines := sentences(string(text))
	fmt.Printf("the text: %d sentences of %s\n", len(lines), filepath.Base(path))

	dir, err := os.MkdirTemp("", "engram-sidecar-demo-")
	if err != nil {
		return fmt.Errorf("making a place for the data: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	s, err := prepare(dir)
	if err != nil {
		return err
	}
	defer s.kill()
	if err := show(ctx, s, lines); err != nil {
		return err
	}
	if err := s.stop(); err != nil {
		return err
	}
	fmt.Printf("\nstopped cleanly after %.1f s in all\n", time.Since(began).Seconds())
	return nil
}

func prepare(dir string) (*sidecar, error) {
	fmt.Println("building the sidecar")
	program, err := build(dir)
	if err != nil {
		return nil, err
	}
	address, adminAddress, err := freeAddresses()
	if err != nil {
		return nil, err
	}
	s := &sidecar{program: program, dir: dir, address: address, admin: adminAddress}
	took, err := s.start()
	if err != nil {
		return nil, err
	}
	fmt.Printf("serving on %s, ready after %d ms\n", s.address, took.Milliseconds())
	return s, nil
}

// show streams, kills, counts and asks.
func show(ctx context.Context, s *sidecar, lines []string) error {
	fmt.Printf("\nstreaming with `engram-sidecar observe`, and killing the sidecar %d times on the way\n", kills)
	o, err := s.observe()
	if err != nil {
		return err
	}
	if err := streamAndKill(s, o, lines); err != nil {
		return err
	}
	sum, err := o.finish()
	if err != nil {
		return err
	}
	if err := count(ctx, s, lines, sum); err != nil {
		return err
	}
	return ask(s)
}

// streamAndKill feeds the lines in kills+1 parts, and kills the sidecar while each part but the last is on its way.
func streamAndKill(s *sidecar, o *observer, lines []string) error {
	parts, fed := make(chan []string, kills+1), make(chan error, 1)
	go func() { fed <- o.feed(parts) }() // ends when parts is closed; waited for below
	var err error
	for k := range kills + 1 {
		from, to := k*len(lines)/(kills+1), (k+1)*len(lines)/(kills+1)
		parts <- lines[from:to]
		if k == kills {
			break
		}
		at := uint64((from + to) / 2)
		if err = killAndRestart(s, at, o.over); err != nil {
			o.kill() // nobody is there for what it still has
			break
		}
	}
	close(parts)
	return errors.Join(err, <-fed)
}

// killAndRestart waits until so many observations are accepted, kills the sidecar, and starts it again. It gives up when the
// client does.
func killAndRestart(s *sidecar, at uint64, over func() bool) error {
	var before, after state
	err := await("observations to arrive", func() bool {
		st, err := s.state()
		before = st
		return over() || err == nil && st.Balance.Accepted >= at
	})
	if err != nil {
		return err
	}
	if over() {
		return errors.New("observe ended before its input did")
	}
	fmt.Printf("  kill -9 with %d accepted, %d of them not yet in the store\n", before.Balance.Accepted, before.Balance.Pending)
	s.kill()
	took, err := s.start()
	if err != nil {
		return err
	}
	if after, err = s.state(); err != nil {
		return err
	}
	fmt.Printf("  ready again after %d ms, %d pending recovered, %d bytes of a torn tail cut\n",
		took.Milliseconds(), after.Recovery.Pending, after.Recovery.TornTail)
	return nil
}

// ask puts the questions to `engram-sidecar recall`.
func ask(s *sidecar) error {
	for _, question := range questions {
		answer, err := s.recall("-k", "2", question)
		if err != nil {
			return err
		}
		fmt.Printf("\nengram-sidecar recall -k 2 %q\n", question)
		for line := range strings.Lines(answer) {
			fmt.Printf("  %s", line)
		}
	}
	return nil
}
