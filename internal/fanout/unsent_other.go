//go:build !linux

package fanout

// limitUnsent is of use on Linux alone.
func limitUnsent(int, int) {}

func (h *Hub) maxUnsent() int { return 0 }

// unacked is not known.
func unacked(int) int { return 0 }
