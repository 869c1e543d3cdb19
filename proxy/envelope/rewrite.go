package envelope

import "google.golang.org/protobuf/encoding/protowire"

// textual is what identifiers and spaces come as: text, or a view of it.
type textual interface{ ~string | ~[]byte }

// AppendEpisodeID appends the episode's bytes and then id as its field 1. Whatever id stands before it, the last one wins.
func AppendEpisodeID[T textual](dst, episode []byte, id T) []byte {
	dst = append(dst, episode...)
	return appendLast(dst, 1, id)
}

// WithRememberID appends the request that m is a view of, with id as its body's last field 1. Everything else stays as it
// came. M has to come from a scan that succeeded.
func WithRememberID[T textual](dst []byte, m *Remember, id T) []byte {
	num := protowire.Number(m.Kind + 1)
	return appendWithID(dst, &m.in, num, m.Body, id)
}

// WithExperienceID is WithRememberID for an ExperienceRequest.
func WithExperienceID[T textual](dst []byte, x *Experience, id T) []byte {
	return appendWithID(dst, &x.in, 2, x.Body, id)
}

// EncodeRememberHead appends what stands before an episode of this many bytes in a RememberRequest of its own: the request is
// the head and the episode. An empty space is left out.
func EncodeRememberHead[T textual](dst []byte, space T, episode int) []byte {
	dst = appendText(dst, 1, space)
	dst = protowire.AppendTag(dst, 3, protowire.BytesType)
	return protowire.AppendVarint(dst, uint64(episode)) //nolint:gosec // a length
}

// SetRememberSpace appends the RememberRequest and then its space. Whatever space stands in it, the last one wins.
func SetRememberSpace[T textual](dst, request []byte, space T) []byte {
	dst = append(dst, request...)
	return appendLast(dst, 1, space)
}

func appendWithID[T textual](dst []byte, in *place, num protowire.Number, body []byte, id T) []byte {
	dst = append(dst, in.request[:in.start]...)
	dst = protowire.AppendTag(dst, num, protowire.BytesType)
	length := len(body) + protowire.SizeTag(1) + protowire.SizeBytes(len(id))
	dst = protowire.AppendVarint(dst, uint64(length)) //nolint:gosec // a sum of lengths
	dst = append(dst, body...)
	dst = appendLast(dst, 1, id)
	return append(dst, in.request[in.end:]...)
}
