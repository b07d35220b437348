package fanout

import (
	"encoding/binary"
	"errors"
	"fmt"
	"unicode/utf8"
)

// What a client can do wrong. A reader's errors are one of these, or wrap one.
var (
	ErrProtocol = errors.New("protocol error")           // closes with 1002
	ErrUTF8     = errors.New("text that is not UTF-8")   // closes with 1007
	ErrTooBig   = errors.New("message or frame too big") // closes with 1009
)

// A reader takes apart what one client sends: bytes go in, in pieces of any size,
// and frames and messages come out (RFC 6455, section 5). It never waits and
// never asks for more, so that a connection in the middle of a frame needs no
// goroutine either.
type reader struct {
	deflate bool // the client may compress messages (RFC 7692)
	gather  bool // messages are wanted; else they are checked, and given up

	header [maxClientHeader]byte // of the frame that comes in
	have   int                   // bytes of header
	left   int64                 // bytes of its payload that are still to come
	at     int                   // bytes of its payload that have come, for the masking key

	control []byte // payload of the control frame that comes in

	first byte  // of the message that comes in: its opcode, and rsv1 if it is compressed; 0: none has begun
	size  int64 // of all its frames so far
	data  []byte
	text  utf8Guard
}

// maxClientHeader is the length of the longest header, that of a masked frame
// with a length of eight bytes.
const maxClientHeader = 2 + 8 + 4

// events takes what a reader finds.
type events interface {
	// onPing takes a ping; its payload is valid until it returns.
	onPing(payload []byte)
	// onMessage takes a whole message, of size bytes on the wire. data is nil where
	// messages are not gathered.
	onMessage(op Opcode, data []byte, size int64)
}

// idle: nothing has begun that is not complete, so that the reader can go.
func (r *reader) idle() bool { return r.have == 0 && r.first == 0 }

// feed takes the next bytes from the client, and unmasks them where they are. It
// returns what the client did wrong, or a ClosedByPeer, and is of no use then.
func (r *reader) feed(p []byte, limits *Limits, to events) error {
	for {
		if !r.headerComplete() {
			if len(p) == 0 {
				return nil
			}
			r.header[r.have] = p[0]
			r.have++
			p = p[1:]
			if err := r.checkHeader(limits); err != nil {
				return err
			}
			if !r.headerComplete() {
				continue
			}
		}
		n := int(min(int64(len(p)), r.left))
		if err := r.payload(p[:n]); err != nil {
			return err
		}
		if p = p[n:]; r.left > 0 {
			return nil
		}
		if err := r.endOfFrame(limits, to); err != nil {
			return err
		}
	}
}

func (r *reader) op() Opcode      { return Opcode(r.header[0] & opcodeSet) }
func (r *reader) fin() bool       { return r.header[0]&finBit != 0 }
func (r *reader) isControl() bool { return r.op()&0x8 != 0 } // section 5.5

// lengthBytes is how many bytes of extended length the header has (section 5.2).
func (r *reader) lengthBytes() int {
	switch r.header[1] &^ maskBit {
	case 126:
		return 2
	case 127:
		return 8
	}
	return 0
}

func (r *reader) headerComplete() bool { return r.have >= 2 && r.have == 2+r.lengthBytes()+4 }

// checkHeader refuses a frame as soon as its header tells enough.
func (r *reader) checkHeader(limits *Limits) error {
	switch r.have {
	case 1:
		return r.checkFirst()
	case 2:
		if r.header[1]&maskBit == 0 { // section 5.1
			return fmt.Errorf("%w: a frame that is not masked", ErrProtocol)
		}
		if r.isControl() && r.header[1]&^maskBit > maxControl {
			return fmt.Errorf("%w: a control frame of more than %d bytes", ErrProtocol, maxControl)
		}
	}
	if r.have == 2+r.lengthBytes() {
		return r.begin(limits)
	}
	return nil
}

// checkFirst looks at the flags and the opcode (sections 5.2, 5.4 and 5.5).
func (r *reader) checkFirst() error {
	op, reserved := r.op(), r.header[0]&(rsv1Bit|rsv2Bit|rsv3Bit)
	switch {
	case op > Binary && op < opClose || op > opPong:
		return fmt.Errorf("%w: reserved opcode %#x", ErrProtocol, op)
	case r.isControl() && !r.fin():
		return fmt.Errorf("%w: a control frame in pieces", ErrProtocol)
	case op == Continuation && r.first == 0:
		return fmt.Errorf("%w: a continuation of no message", ErrProtocol)
	case (op == Text || op == Binary) && r.first != 0:
		return fmt.Errorf("%w: a message within another", ErrProtocol)
	case reserved == rsv1Bit && r.deflate && (op == Text || op == Binary): // RFC 7692, section 6
	case reserved != 0:
		return fmt.Errorf("%w: reserved bits", ErrProtocol)
	}
	return nil
}

// begin takes the length of the frame, the last thing that can be wrong with a
// header: what comes then is the masking key.
func (r *reader) begin(limits *Limits) error {
	size := uint64(r.header[1] &^ maskBit)
	switch r.lengthBytes() {
	case 2:
		if size = uint64(binary.BigEndian.Uint16(r.header[2:])); size < 126 {
			return fmt.Errorf("%w: a length in more bytes than it needs", ErrProtocol)
		}
	case 8:
		if size = binary.BigEndian.Uint64(r.header[2:]); size < 1<<16 || size > 1<<63-1 {
			return fmt.Errorf("%w: a length in more bytes than it needs, or than there are", ErrProtocol)
		}
	}
	r.left, r.at = int64(size), 0
	if r.isControl() {
		r.control = r.control[:0]
		return nil
	}
	if r.op() != Continuation {
		r.first, r.size, r.data, r.text = r.header[0]&(rsv1Bit|opcodeSet), 0, nil, utf8Guard{}
	}
	if limits.MaxFrameBytes > 0 && r.left > limits.MaxFrameBytes || r.left > limits.maxOnTheWire(r.compressed())-r.size {
		return ErrTooBig
	}
	r.size += r.left
	return nil
}

func (r *reader) compressed() bool { return r.first&rsv1Bit != 0 }

// payload takes a piece of the frame's payload.
func (r *reader) payload(p []byte) error {
	key := r.header[r.have-4 : r.have]
	for i := range p { // section 5.3
		p[i] ^= key[(r.at+i)&3]
	}
	r.at = (r.at + len(p)) & 3
	r.left -= int64(len(p))
	if r.isControl() {
		r.control = append(r.control, p...)
		return nil
	}
	if r.gather {
		r.data = append(r.data, p...)
	}
	if Opcode(r.first) == Text && !r.text.pass(p) { // section 8.1; compressed text has another first byte
		return ErrUTF8
	}
	return nil
}

// endOfFrame hands on what the frame completes.
func (r *reader) endOfFrame(limits *Limits, to events) error {
	r.have = 0
	switch r.op() {
	case opPing:
		to.onPing(r.control)
		return nil
	case opPong: // that something came is all that counts
		return nil
	case opClose:
		code, err := closeCode(r.control)
		if err != nil {
			return err
		}
		return ClosedByPeer{code} // nothing may follow (section 5.5.1)
	}
	if !r.fin() {
		return nil
	}
	op, data := Opcode(r.first&opcodeSet), r.data
	if r.gather && r.compressed() {
		var err error
		if data, err = inflate(data, limits.maxOnTheWire(false)); err != nil {
			return err
		}
		if op == Text && !r.text.pass(data) {
			return ErrUTF8
		}
	}
	if !r.text.whole() {
		return ErrUTF8
	}
	if r.gather && data == nil {
		data = []byte{} // an empty message
	}
	r.first, r.data = 0, nil
	to.onMessage(op, data, r.size)
	return nil
}

// noStatus stands for the code of a Close frame that has none (section 7.1.5).
const noStatus = 1005

// closeCode is the code in the payload of a Close frame (sections 5.5.1 and 7.4).
func closeCode(payload []byte) (uint16, error) {
	if len(payload) == 0 {
		return noStatus, nil
	}
	if len(payload) == 1 {
		return 0, fmt.Errorf("%w: a Close frame with half a code", ErrProtocol)
	}
	code := binary.BigEndian.Uint16(payload)
	switch {
	case code >= 3000 && code <= 4999: // of libraries, frameworks and applications
	case code >= 1000 && code <= 1014 && code != 1004 && code != noStatus && code != 1006: // in IANA's registry
	default:
		return 0, fmt.Errorf("%w: a Close frame with code %d", ErrProtocol, code)
	}
	if !utf8.Valid(payload[2:]) {
		return 0, ErrUTF8
	}
	return code, nil
}

// utf8Guard checks text that comes in pieces. Its zero value is ready.
type utf8Guard struct {
	cut [utf8.UTFMax]byte // the beginning of a character
	n   int               // bytes of it
}

// pass reports whether p goes on with what came before as UTF-8 does.
func (g *utf8Guard) pass(p []byte) bool {
	for g.n > 0 && len(p) > 0 { // the character that was cut
		g.cut[g.n] = p[0]
		g.n++
		p = p[1:]
		if utf8.FullRune(g.cut[:g.n]) {
			if !utf8.Valid(g.cut[:g.n]) {
				return false
			}
			g.n = 0
		}
	}
	end := len(p)
	for back := 1; back < utf8.UTFMax && back <= len(p); back++ {
		if utf8.RuneStart(p[len(p)-back]) {
			if !utf8.FullRune(p[len(p)-back:]) {
				end -= back
			}
			break
		}
	}
	g.n += copy(g.cut[g.n:], p[end:])
	return utf8.Valid(p[:end])
}

// whole reports whether the text does not end within a character.
func (g *utf8Guard) whole() bool { return g.n == 0 }
