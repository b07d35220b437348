package socketerr

import "golang.org/x/sys/windows"

// The constants of package syscall with the names of others are numbers that Windows never returns.
const (
	inUse   = windows.WSAEADDRINUSE
	refused = windows.WSAECONNREFUSED
)

var resets = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED, windows.WSAESHUTDOWN}
