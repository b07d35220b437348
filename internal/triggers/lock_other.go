//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package triggers

// Lock does nothing: where there is no flock, of two changes at once one may be
// lost.
func (d Dir) Lock() (unlock func(), err error) { return func() {}, nil }
