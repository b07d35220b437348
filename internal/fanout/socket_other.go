//go:build !unix

package fanout

import "errors"

// canWriteDirectly: without write(2) every write is left to catchUp.
const canWriteDirectly = false

func writeNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }

func readNow(int, []byte) (int, error) { return 0, errors.ErrUnsupported }
