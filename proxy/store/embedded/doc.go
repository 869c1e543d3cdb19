// Package embedded stores memories on this machine: the store for one sidecar, with nothing else to install. It compares
// every memory of a space with the cue, and so its answers are exact. A million memories take about 4.1 GB of disk, 70 MB of
// Go's heap and a tenth of a second for a recall; beyond some millions an Engram server or PostgreSQL serves better.
//
// # What it promises
//
// A memory that Put has confirmed is on disk: its bytes, the names of the files they are in, and the commit that makes them
// count. It survives the death of the process, of the kernel, and of the power, where the disk honours flushes. A memory is
// one for its space and id, and of two versions (the journal's index) the newer stays, whatever order they come in and
// however often. Recall returns what was committed when it was called, nothing twice, nothing that was replaced, and no
// byte that is not what was written: what is damaged is left out, counted and named, and stored anew when it is put again.
//
// A memory that is replaced stays in its segment, and recalls pass it over, until Compact gives its place back.
//
// # What is on disk
//
//	FORMAT               version of the format, rows in a segment
//	LOCK                 held by the process that has the directory open
//	vectors-000001.seg   header, then one row of 3,072 bytes for each memory: 768 float32 numbers, as the client gave them
//	bodies-000001.seg    header, then one body for each row: everything else of the memory
//	sketches-000001.seg  header, then a sketch of 800 bytes for each row that a recall among many has looked at
//	index.db             bbolt: which rows are committed, and 56 bytes about each
//	index.damaged        the last index that had to be made anew, kept for whoever wonders why
//	*.seg.aside          a segment without a readable row, found when there was no index
//
// All integers are little-endian but bbolt's keys. A segment holds 65,536 memories unless configured otherwise; row r is
// number r mod 65,536 of segment r / 65,536, in all of its files. A segment's header is 64 bytes:
//
//	0  "ENGRAMV1", "…B1" or "…S1"   16  dimensions (768)          60  CRC32C of what stands before it
//	8  version of the format        20  rows in a segment
//	12 number of the segment, from 0    then zeros
//
// A body begins at a multiple of 8 and is padded to one:
//
//	0  "BODY"                            36  CRC32C of the payload as it stands here
//	4  CRC32C of 8 to the end of the id  40  its length
//	8  number of the row                 44  1 + where in it the vector was, 0 for nowhere
//	12 length of the body                48  1 / length of the vector, float32
//	16 version: the journal's index (8)  52  length of the id (2), 54 of the space's name (1), 55 form (1)
//	24 time, Unix nanoseconds (8)        56  zeros (8)
//	32 CRC32C of the vector              64  the space's name, the id, the payload
//
// The payload stands there without its vector, and with the place it was in: the vector is most of a message, it is stored
// once, and the message comes back byte for byte. Only an embedding in several pieces, which no usual encoder writes, stays
// in the payload and is stored twice. Vectors stay as they came, unscaled, for that reason; the scale makes their length 1
// when they are compared.
//
// # Sketches
//
// To read all vectors is what a recall takes its time for: 3 GB for a million. From 8,192 rows of a space on a recall reads
// sketches first: each number of a vector in one byte, and a bound of what that leaves out. Only where a row can still be
// among the best is its vector read, and the vector alone gives the score: answers are what they would be without sketches.
// How that is certain stands at the head of sketch.go; a sketch is, all little-endian:
//
//	0    768 numbers, int8                      776  CRC32C of the vector (4), 780 of all else here (4)
//	768  what makes their length 1, float32     784  the row's version (8)
//	772  how far that is from the vector's      792  the row's time (8)
//	     direction, float32
//
// The first recall that looks at a row makes its sketch, Put never does. Nobody syncs sketches, backs them up or repairs them:
// one that is missing, torn or of another row is made again, and where they cannot be written or read, recalls read vectors.
// The file is as long as it can become from the start, with holes. A processor without AVX2 has none: it would not gain.
//
// # Why the index is not a table of ids
//
// A table from id to row in bbolt would have to change some 250 pages all over its tree for a batch of 256 memories. Here a
// commit appends one value to the end of one bucket. The ids are found through a hash table in memory, 4 bytes a slot, that
// is filled from the index when the store opens (a third of a second for a million), and an id that is found is compared
// with the one on disk. Nothing depends on hashes being different.
//
// The segments know all that the index knows. So the index is only what makes opening quick and a batch visible at once: an
// index that is lost or damaged is made anew, from the segments when the store opens, from memory when a commit finds it
// unusable. bbolt has no checksums of its own; every value here has one, over its key too.
//
// # Crashes
//
// Put writes vectors and bodies, syncs both files (and before, where they are new, the directory), commits the index (two
// more syncs), and only then shows the batch to recalls and answers. If the process dies
//
//   - before the syncs are through: rows behind the last commit, whole, torn or not there. The next Open takes over those
//     that are whole up to the first that is not (checksums of head, payload and vector), and cuts off the rest.
//   - between syncs and commit: the same, and all of them are whole. The journal delivers them again without effect.
//   - within the commit: bbolt has the commit or has it not.
//   - within the creation of the store or a segment: the names are there or not; a segment without rows is removed.
//   - while sketches are written: each is whole or is not taken for one.
//   - while an index is made anew: index.tmp is left, and begun again.
//   - while the store is compacted: the old store or the new one is in its place, whole; what is beside it is removed.
//
// Taking over whole rows is more than thrift: where the newer of bbolt's two meta pages is damaged, bbolt opens with the
// older one and does not know the last commit, which was confirmed.
//
// Without an index nobody knows where the last commit ended. Whatever can be read is kept, a row that cannot be read counts
// as damaged where one behind it can, and what stands behind the last readable row is cut off.
//
// # Failures
//
// After a failed sync nobody knows what is on disk, and asking again proves nothing: every later Put is refused as
// store.Unavailable until the directory is opened anew. The same holds for a failed write, unless it failed for want of
// room: that is cut off again, and the next Put tries anew. Recalls go on in any case. A page of a mapped file that cannot
// be read would end the process; here the row it belongs to counts as damaged, and so does the index.
//
// # Goroutines
//
// None outlives a call. A pass over many memories starts as many as Config.Workers says, Put one for each segment it syncs;
// both wait for them. One Put writes at a time, recalls run beside it and beside one another; those of one space that come
// while it is searched share the next pass, which one of them leads. Close waits for all.
//
// # What it can be asked
//
// A vector is compared with those of the space. A text comes as the vector that the built-in embedder makes of it. Time,
// place, people and tags stand in the bodies alone: a recall by context reads all bodies of the space, one by a vector and
// tags those that would be among the best.
//
// # Assumptions
//
// The file system keeps what was synced, does not change bytes that nobody wrote, and gives one process the lock. The
// processor is little-endian. The directory is nobody else's.
package embedded
