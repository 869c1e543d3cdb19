package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/observe"
	engramv1 "github.com/engram-sidecar/engram-sidecar/proto/engram/v1"
	"github.com/engram-sidecar/engram-sidecar/proxy/embedding"
	"github.com/engram-sidecar/engram-sidecar/wal"
)

// observeOptions are the flags of observe.
type observeOptions struct {
	secure
	address  string
	file     string
	format   string
	idPrefix string
	asJSON   bool
	stream   observe.Config
}

func (p *program) observeCommand() *cobra.Command {
	var o observeOptions
	c := &cobra.Command{
		Use:   "observe",
		Short: "Send lines as observations",
		Long: `observe reads lines, sends each as an observation, and waits until all are acknowledged. A line is a text, or a
JSON object with the fields of an episode. Where it has no embedding one is made of its text, by counting words
and pieces of words (see go doc of proxy/embedding: it knows words, not meanings).

It survives the loss of its connection and a restart of the sidecar. At the end of the input it closes the
session. After Ctrl-C it waits for the acks it is owed and says how to go on with the session later.`,
		Example: `  engram-sidecar observe --file notes.txt
  tail -F app.log | engram-sidecar observe --space logs --priority low
  engram-sidecar observe --session 3f0c… --from-start --file notes.txt`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.observe(cmd.Context(), o) },
	}
	f := c.Flags()
	f.SortFlags = false
	f.StringVar(&o.address, "addr", defaultAddress, addressHelp)
	f.StringVar(&o.stream.Space, "space", "", "memory space to observe into (default the sidecar's)")
	f.StringVarP(&o.file, "file", "f", "-", "file to read; - is stdin")
	f.StringVar(&o.format, "jsonl", "auto", "on, off or auto: auto takes all lines for JSON when the first begins with {")
	f.StringVar(&o.stream.Session, "session", "", "go on with this session instead of a new one")
	f.BoolVar(&o.stream.FromStart, "from-start", false, "with --session: the input is the same as before; leave out what the session has already")
	f.StringVar(&o.stream.Priority, "priority", "", "high, normal or low, for a new session (default normal)")
	f.IntVar(&o.stream.Window, "window", 256, "how many observations may wait for their ack at once")
	f.StringVar(&o.idPrefix, "id-prefix", "", "give each observation the id PREFIX-LINE (default the sidecar makes ids)")
	f.BoolVar(&o.stream.SkipInvalid, "skip-invalid", false, "leave out invalid lines instead of ending at the first")
	f.BoolVar(&o.stream.KeepOpen, "keep-open", false, "leave the session open at the end of the input")
	f.BoolVar(&o.stream.Drain, "drain", false, "at the end wait until the store has everything")
	f.DurationVar(&o.stream.RetryFor, "retry-for", 5*time.Minute, "how long to try again after a lost connection")
	f.BoolVar(&o.asJSON, "json", false, "print the summary as a JSON object")
	addSecure(f, &o.secure)
	return c
}

func (o *observeOptions) validate() error {
	if o.stream.Priority != "" {
		if _, err := wal.ParseLane(o.stream.Priority); err != nil {
			return usage("--%w", err)
		}
	}
	switch observe.Format(o.format) {
	case observe.FormatAuto, observe.FormatText, observe.FormatJSON:
	default:
		return usage("--jsonl: expected auto, on or off, got %q", o.format)
	}
	if o.stream.Window < 1 {
		return usage("--window: expected 1 to %d, got %d", observe.MaxWindow, o.stream.Window)
	}
	if err := o.stream.Validate(); err != nil {
		return usage("%w", err)
	}
	return nil
}

func (p *program) observe(ctx context.Context, o observeOptions) error {
	if err := o.validate(); err != nil {
		return err
	}
	in, size, err := p.input(o.file)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // only read from
	conn, err := dial(o.address, o.secure)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // what was acked is on disk, what was not is said
	reader := observe.NewReader(in, observe.ReaderConfig{
		Format: observe.Format(o.format), Dimensions: embedding.Dimensions, Embed: embedding.Text,
		IDPrefix: o.idPrefix, Now: time.Now,
	})
	bar := newBar(p.stderr, size)
	o.stream.Progress = bar.show
	o.stream.Notice = func(format string, args ...any) {
		bar.clear()
		_, _ = fmt.Fprintf(p.stderr, "engram-sidecar: "+format+"\n", args...) // a remark
	}
	sum, err := observe.Run(ctx, engramv1.NewEngramServiceClient(conn), o.stream, reader)
	bar.clear()
	return errors.Join(explain(err, o.address), p.report(sum, o.asJSON))
}

func (p *program) report(sum observe.Summary, asJSON bool) error {
	if asJSON {
		return p.writeJSON(sum)
	}
	if sum.Session == "" {
		return nil // nothing was begun; the error says why
	}
	return p.write(sum.String())
}

// input opens what is to be read, and says how long it is, -1 where nobody knows.
func (p *program) input(file string) (io.ReadCloser, int64, error) {
	if file == "-" {
		if isTerminal(p.stdin) {
			_, _ = fmt.Fprintln(p.stderr, "engram-sidecar: type one observation a line, end with Ctrl-D") // a remark
		}
		return io.NopCloser(p.stdin), -1, nil
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, usage("--file: %w", err)
	}
	size := int64(-1)
	switch info, err := f.Stat(); {
	case err == nil && info.IsDir():
		_ = f.Close() // nothing was read
		return nil, 0, usage("--file: %s is a directory: expected a file of lines", file)
	case err == nil && info.Mode().IsRegular():
		size = info.Size()
	}
	return f, size, nil
}

// bar shows progress on a terminal, and nothing anywhere else.
type bar struct{ *progressbar.ProgressBar }

func newBar(w io.Writer, size int64) bar {
	if !isTerminal(w) {
		return bar{}
	}
	return bar{progressbar.NewOptions64(size, progressbar.OptionSetWriter(w), progressbar.OptionShowBytes(true),
		progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))}
}

func (b bar) show(s observe.Summary) {
	if b.ProgressBar != nil {
		b.Describe(fmt.Sprintf("%d acked, %.0f/s", s.Acked, s.Rate))
		_ = b.Set64(s.BytesRead) // a terminal that is gone is noticed elsewhere
	}
}

func (b bar) clear() {
	if b.ProgressBar != nil {
		_ = b.Clear() // as above
	}
}
