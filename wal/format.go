package wal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/uuid"
)

// formatFile names the file that says what wrote a data directory: one line,
// "engram-sidecar format 1 journal 7c0e…", so that a person can read it too.
const formatFile = "FORMAT"

// Format is what the FORMAT file of a data directory says.
type Format struct {
	Version int
	Journal [16]byte // identity of the directory; the seal of every frame
}

// ReadFormat reads the FORMAT file. The error wraps os.ErrNotExist where there is none, ErrNewerFormat where a newer
// version wrote it, and ErrDamaged where it cannot be understood.
func ReadFormat(dir string) (Format, error) {
	path := filepath.Join(dir, formatFile)
	b, err := os.ReadFile(path)
	if err != nil {
		return Format{}, fmt.Errorf("read the format file: %w", err)
	}
	var f Format
	if _, err := fmt.Sscanf(string(b), "engram-sidecar format %d", &f.Version); err != nil || f.Version < 1 {
		return Format{}, fmt.Errorf("%w: %s says %.60q: expected \"engram-sidecar format N journal UUID\"", ErrDamaged, path, b)
	}
	if f.Version > FormatVersion { // what else the line says then is the newer version's
		return f, fmt.Errorf("%w: %s says format %d, this build reads up to %d: run the version that wrote it, or a newer one",
			ErrNewerFormat, path, f.Version, FormatVersion)
	}
	var id string
	if _, err := fmt.Sscanf(string(b), "engram-sidecar format %d journal %s", &f.Version, &id); err != nil {
		return Format{}, fmt.Errorf("%w: %s says %.60q: expected \"engram-sidecar format N journal UUID\"", ErrDamaged, path, b)
	}
	u, err := uuid.Parse(id)
	if err != nil {
		return Format{}, fmt.Errorf("%w: %s names journal %.60q: expected a UUID", ErrDamaged, path, id)
	}
	f.Journal = u
	return f, nil
}

// NewFormat is the format of a directory that begins now.
func NewFormat() Format { return Format{Version: FormatVersion, Journal: uuid.New()} }

// WriteFormat writes the FORMAT file so that a crash leaves the old one or the new one, and returns when it is durable.
func WriteFormat(dir string, f Format) error {
	text := fmt.Sprintf("engram-sidecar format %d journal %s\n", f.Version, uuid.UUID(f.Journal))
	path := filepath.Join(dir, formatFile)
	tmp := path + ".tmp"
	if err := writeSynced(tmp, []byte(text)); err != nil {
		return fmt.Errorf("write the format file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the format file: %w", err)
	}
	return SyncDir(dir)
}

// writeSynced writes a whole file, 0600, and returns when its bytes are durable; its name is not until SyncDir.
func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// SyncDir makes the names in a directory durable. POSIX promises it of no other call.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	if err := d.Sync(); err != nil {
		return errors.Join(fmt.Errorf("%w: directory %s: %w", errSync, dir, err), d.Close())
	}
	return d.Close()
}

// ReadIdentity finds the journal's identity in a generation's first record, for a directory that lost its FORMAT file.
// The head's payload is not sealed; its header then proves the identity that the payload names.
func ReadIdentity(segment []byte) ([16]byte, bool) {
	_, at := binary.Uvarint(segment)
	if at <= 0 || len(segment) < at+minFrame {
		return [16]byte{}, false
	}
	payload := segment[at+minFrame:] // a head has neither space nor id
	size := binary.LittleEndian.Uint32(segment[at+offPayload:])
	if uint64(size) > uint64(len(payload)) {
		return [16]byte{}, false
	}
	head, err := DecodeHead(payload[:size])
	if err != nil {
		return [16]byte{}, false
	}
	var r Record
	h, err := parseHeader(segment[at:], newSeal(head.Journal, head.Generation), &r)
	if err != nil || r.Kind != KindHead || checkPayload(segment[at:], h, &r) != nil {
		return [16]byte{}, false
	}
	return head.Journal, true
}
