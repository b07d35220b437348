package envelopelog

import (
	"fmt"
	"strconv"
	"strings"
)

// positionHeader is the header of a message in which its position stands.
const positionHeader = "Iotcast-Position"

// position is where a copy of a message stands among those of its writer.
type position struct {
	writer    string
	number    uint64 // from 1
	confirmed uint64 // the highest number that was confirmed when the copy was published
}

func (p position) String() string {
	text := make([]byte, 0, len(p.writer)+2*20+2)
	text = append(append(text, p.writer...), ' ')
	text = append(strconv.AppendUint(text, p.number, 10), ' ')
	return string(strconv.AppendUint(text, p.confirmed, 10))
}

func parsePosition(text string) (p position, err error) {
	writer, rest, _ := strings.Cut(text, " ")
	number, confirmed, _ := strings.Cut(rest, " ")
	p.writer = writer
	if p.number, err = strconv.ParseUint(number, 10, 64); err == nil {
		p.confirmed, err = strconv.ParseUint(confirmed, 10, 64)
	}
	if err != nil || p.writer == "" || p.number <= p.confirmed {
		return position{}, fmt.Errorf("header %s: %q is not a writer, a number, and a lower one that is confirmed", positionHeader, text)
	}
	return p, nil
}
