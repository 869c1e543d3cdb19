package embedded

// publish shows a committed batch to recalls, all of it at once.
func (s *Store) publish(b *batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range b.spaces {
		s.addSpace(name)
	}
	replaced := map[*segment][]int{}
	for i := range b.rows {
		number := s.committed
		seg, place := s.segments[s.layout.segmentOf(number)], s.layout.placeOf(number)
		seg.rows[place] = b.rows[i]
		seg.verified.add(place)
		older, ok, err := s.admit(number, &b.rows[i])
		if err != nil {
			panic("internal error: a committed row was not admitted: " + err.Error())
		}
		if ok {
			old := s.segments[s.layout.segmentOf(older)]
			replaced[old] = append(replaced[old], s.layout.placeOf(older))
		}
	}
	for seg, places := range replaced {
		seg.markDead(places)
	}
	for i := range b.rows {
		if b.rows[i].replaces != 0 {
			s.numbered[b.rows[i].space].sweep(s.isDead)
		}
	}
}
