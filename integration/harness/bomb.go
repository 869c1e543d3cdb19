package harness

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"encoding/binary"
	"hash/crc32"
	"io"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
)

// Bomb makes whatever a call sends, until the end of the test, a message of so many MiB of zeros that takes a thousandth of that
// on the wire. It must not be used while other calls of this process compress.
func Bomb(t testing.TB, mib int) grpc.CallOption {
	t.Helper()
	honest := encoding.GetCompressor("gzip")
	encoding.RegisterCompressor(bomb{packedZeros(t, mib)})
	t.Cleanup(func() { encoding.RegisterCompressor(honest) })
	return grpc.UseCompressor("gzip")
}

// packedZeros is what gzip makes of so many MiB of zeros, without its work: behind the first MiB each is like the one before, byte
// for byte, once it was flushed.
func packedZeros(t testing.TB, mib int) []byte {
	t.Helper()
	zeros := make([]byte, 1<<20)
	var piece, out bytes.Buffer
	w, err := flate.NewWriter(&piece, flate.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	next := func(do func() error) []byte {
		piece.Reset()
		if err := do(); err != nil {
			t.Fatal(err)
		}
		return bytes.Clone(piece.Bytes())
	}
	more := func() error {
		_, err := w.Write(zeros)
		if err != nil {
			return err
		}
		return w.Flush()
	}
	first, second, last := next(more), next(more), next(w.Close)
	out.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255}) // the head of a gzip file
	out.Write(first)
	sum := crc32.ChecksumIEEE(zeros)
	for range mib - 1 {
		out.Write(second)
		sum = crc32.Update(sum, crc32.IEEETable, zeros)
	}
	out.Write(last)
	tail := binary.LittleEndian.AppendUint32(nil, sum)
	out.Write(binary.LittleEndian.AppendUint32(tail, uint32(mib)<<20))
	return out.Bytes()
}

// bomb compresses everything to the same bytes.
type bomb struct{ compressed []byte }

// Name implements encoding.Compressor.
func (bomb) Name() string { return "gzip" }

// Compress implements encoding.Compressor.
func (b bomb) Compress(w io.Writer) (io.WriteCloser, error) { return &bombWriter{w, b.compressed}, nil }

// Decompress implements encoding.Compressor.
func (bomb) Decompress(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) }

type bombWriter struct {
	io.Writer
	compressed []byte
}

// Write takes what the caller wanted to send, and forgets it.
func (b *bombWriter) Write(p []byte) (int, error) { return len(p), nil }

// Close sends the bomb.
func (b *bombWriter) Close() error {
	_, err := b.Writer.Write(b.compressed)
	return err
}
