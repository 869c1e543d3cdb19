// Package embedding turns a text into a vector of 768 floats by counting its words and pieces of words.
//
// It exists so that a text can be stored and found again from a shell, on a machine without a model. It is no model.
//
// # What it can do
//
// Two texts come near each other as far as they share words, or words that are spelled alike: "boiling kettle" is near "the
// kettle boiled", and a word with a typo still counts for a part of itself. Case, accents, punctuation, the order of words
// and the space between them do not matter. Rare words count no more than others, for there is nothing here that knows
// which words are rare, but the commonest English function words (the, of, and, is, ...) count half.
//
// # What it cannot do
//
// It does not understand anything. "Car" and "automobile" are as far from each other as any two words; "dog bites man" and
// "man bites dog" are the same; a negation is one word more. Nothing carries over from one language to another. Each Chinese
// character is a word; in other scripts written without spaces (Japanese kana, Thai) a whole clause is one word, of which
// only the pieces match. Nearness between unrelated texts is not exactly 0, because all features share 768 places, and two
// long texts come near each other whatever they are about. Where meaning matters, embed with a model and send its vectors.
//
// # What it promises
//
// The same text gives the same vector, bit for bit, on every machine and in every later version: vectors are stored, and
// must be comparable for ever. All sums are of integers, so that neither their order nor an instruction set's rounding can
// show; the function words and the constants are frozen; golden vectors in the tests hold it to that. The one thing that can
// change is the class of a character that the Unicode version of the Go toolchain does not know yet.
//
// Every vector has unit length (within the rounding of float32), that of an empty text too, so that a dot product is a
// cosine. Time and memory are linear in the text but for a sort of its words.
//
// There are no goroutines here; every function may be called from anywhere at any time. The package touches no disk.
package embedding
