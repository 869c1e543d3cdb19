package bench

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets this binary be the parts of a measurement, as the program is.
func TestMain(m *testing.M) {
	if slices.Equal(os.Args[1:], partCommand) {
		if err := RunPart(context.Background(), os.Stdin, os.Stdout); err != nil {
			_, _ = fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}
