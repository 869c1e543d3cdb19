package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/engram-sidecar/engram-sidecar/cmd/engram-sidecar/internal/bench"
)

// benchOptions are the flags of bench.
type benchOptions struct {
	bench.Options
	store    string
	baseline bool
	asJSON   bool
	plot     string
	standard bool
	quick    bool
	write    string
	only     []string
	shorter  struct{ runs, long bool } // whether the standard set is to heed Runs and Load.Duration
}

func (p *program) benchCommand() *cobra.Command {
	o := benchOptions{Options: bench.Options{Load: bench.DefaultLoad()}}
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure how fast this machine acknowledges observations durably",
		Long: `bench starts a sidecar of its own, with a data directory of its own, puts a load on it from another process, and
shows how many observations were acknowledged a second, how long each took, and what that cost.

With --baseline it measures, turn by turn, what the sidecar can be compared with on this machine: an echo over gRPC,
an echo that acks when the bytes are synced to one bare file, the same bytes appended and synced without gRPC, the
journal alone, and the store without the sidecar. Ratios are worth more than absolute figures: whatever else the
machine does, it does to all of them.

With --store away the sidecar only journals; with embedded, or engram for an Engram-like server, the rate is of what
the store had in the end.`,
		Example: `  engram-sidecar bench
  engram-sidecar bench --baseline --streams 8 --window 512 --plot burst.svg
  engram-sidecar bench --rate 10000 --duration 1m --store embedded --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.shorter.runs, o.shorter.long = cmd.Flags().Changed("runs"), cmd.Flags().Changed("duration")
			return p.bench(cmd.Context(), o)
		},
	}
	f := c.Flags()
	f.SortFlags = false
	f.IntVar(&o.Load.Streams, "streams", o.Load.Streams, "observation streams, each a session")
	f.IntVar(&o.Load.Window, "window", o.Load.Window, "how many observations of a stream may wait for their ack at once")
	f.Float64Var(&o.Load.Rate, "rate", 0, "observations a second over all streams; 0 is as fast as acks come")
	f.IntVar(&o.Load.Size, "size", o.Load.Size, "bytes of text in an observation, beside its 3,072 of embedding")
	f.DurationVar(&o.Load.Duration, "duration", o.Load.Duration, "how long each run counts")
	f.DurationVar(&o.Load.Warmup, "warmup", o.Load.Warmup, "how long each run goes on before it counts")
	f.IntVar(&o.Load.Spaces, "spaces", o.Load.Spaces, "memory spaces that the observations go to in turn")
	f.IntVar(&o.Load.Connections, "connections", 0, "connections that the streams share (default one for 64 streams)")
	f.StringVar(&o.store, "store", "away", "away, embedded or engram: what is behind the sidecar")
	f.BoolVar(&o.baseline, "baseline", false, "measure what the sidecar can be compared with, too")
	f.IntVar(&o.Runs, "runs", bench.DefaultRuns, "how often each is measured, turn by turn; the medians count")
	f.IntVar(&o.Batch, "batch", bench.DefaultBatch, "records a batch, where there is no client")
	f.StringVar(&o.Dir, "dir", "", "where to write while measuring: a directory on the disk that counts (default that of temporary files)")
	f.BoolVar(&o.asJSON, "json", false, "print everything that was measured as a JSON object")
	f.StringVar(&o.plot, "plot", "", "write a picture of rates and latencies to `FILE`, as SVG")
	f.BoolVar(&o.standard, "standard", false,
		"measure the standard set of loads instead, about an hour; --runs says how often each, --duration how long those all the way into a store; a rate to be kept up takes twice that, a minute at most")
	f.BoolVar(&o.quick, "quick", false, "with --standard: a look at each, in a minute or two")
	f.StringSliceVar(&o.only, "only", nil, "with --standard: measure only these `NAMES`: "+strings.Join(bench.Names(), ", "))
	f.StringVar(&o.write, "write", "", "with --standard: write the tables and pictures to `FILE`, in Markdown")
	c.AddCommand(p.benchPartCommand())
	return c
}

// benchPartCommand is what the processes of a measurement run.
func (p *program) benchPartCommand() *cobra.Command {
	return &cobra.Command{
		Use: "part", Hidden: true, Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return bench.RunPart(cmd.Context(), p.stdin, p.stdout) },
	}
}

func (p *program) bench(ctx context.Context, o benchOptions) error {
	switch {
	case o.standard:
		return p.benchStandard(ctx, &o)
	case o.quick:
		return usage("--quick: expected --standard with it; --duration and --runs make a load of your own shorter")
	case len(o.only) > 0:
		return usage("--only: expected --standard with it")
	case o.write != "":
		return usage("--write: expected --standard with it; --plot and --json keep a load of your own")
	}
	subject, err := bench.ParseStore(o.store)
	if err != nil {
		return usage("%w", err)
	}
	o.Subjects = []bench.Subject{subject}
	if o.baseline {
		o.Subjects = bench.Baselines(subject)
	}
	if err := o.Validate(); err != nil {
		return usage("%w", err)
	}
	bar := newTimeBar(p.stderr)
	o.Progress = bar.show
	series, err := bench.Measure(ctx, o.Options)
	bar.clear()
	if err != nil {
		return err
	}
	if o.plot != "" {
		if err := os.WriteFile(o.plot, []byte(series.Plot()), 0o600); err != nil {
			return fmt.Errorf("--plot: %w", err)
		}
	}
	if o.asJSON {
		return p.writeJSON(series)
	}
	return p.write(series.String())
}

// benchStandard measures the standard set.
func (p *program) benchStandard(ctx context.Context, o *benchOptions) error {
	scale := bench.FullScale
	if o.quick {
		scale = bench.QuickScale
	}
	if o.shorter.runs {
		scale.Runs = o.Runs
	}
	if o.shorter.long {
		scale.Long = o.Load.Duration
		scale.Kept = min(scale.Kept, 2*scale.Long)
	}
	if scale.Runs < 1 || scale.Long < time.Second {
		return usage("--standard: expected --runs of 1 and --duration of 1s at least, got %d and %v", scale.Runs, scale.Long)
	}
	for _, name := range o.only {
		if !slices.Contains(bench.Names(), name) {
			return usage("--only: expected some of %s, got %q", strings.Join(bench.Names(), ", "), name)
		}
	}
	bar := newTimeBar(p.stderr)
	report, err := bench.Standard(ctx, scale, o.only, o.Dir, bar.show)
	bar.clear()
	if err != nil {
		return err
	}
	report.Version = version
	if o.write != "" {
		if err := report.Write(o.write); err != nil {
			return err
		}
	}
	if o.asJSON {
		return p.writeJSON(report)
	}
	return p.write(report.String())
}

// timeBar shows on a terminal how much time has passed of what there is to pass.
type timeBar struct{ *progressbar.ProgressBar }

func newTimeBar(w io.Writer) *timeBar {
	if !isTerminal(w) {
		return &timeBar{}
	}
	return &timeBar{progressbar.NewOptions64(1, progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false), progressbar.OptionThrottle(100*time.Millisecond))}
}

func (b *timeBar) show(done, all time.Duration, what string) {
	if b.ProgressBar != nil {
		b.ChangeMax64(int64(all))
		b.Describe(what)
		_ = b.Set64(int64(min(done, all-1))) // a terminal that is gone is noticed elsewhere
	}
}

func (b *timeBar) clear() {
	if b.ProgressBar != nil {
		_ = b.Clear() // as above
	}
}
