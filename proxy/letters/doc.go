// Package letters is the desk where an operator settles dead letters: the observations that the store refused for good.
//
// # Promises
//
// A replay hands a letter to the store as it was accepted, under its own id and journal index, and takes it off the dead
// ones once the store has said that it is durable there: then the balance moves it from dead to delivered, in the journal,
// before it is told. One that the store refuses again stays, with the store's newest words. A drop moves a letter from dead
// to dropped, and cannot be undone. What is neither stays as it was.
//
// A letter of which a newer version was accepted since is not replayed: it would bring back what is out of date. Before the
// store is asked, the writes of the journal behind the letter are looked through once, and while it is asked nothing else is
// delivered, so that no newer version slips in between. What is not seen is a newer version, of another session, that was
// delivered and given back before the letter died: there only a store that keeps versions knows better.
//
// # Assumptions
//
// The store takes the same version of a memory twice without harm. Whoever delivers beside the desk does so through
// Turns.Take.
//
// # Goroutines and crashes
//
// It starts none. One replay or drop runs at a time, the others wait. A crash between the store's answer and the record that
// tells of it leaves the letter dead: to replay it again stores nothing twice. A crash behind that record leaves it settled.
package letters
