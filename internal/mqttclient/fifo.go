package mqttclient

// fifo is a queue of messages. Its zero value is empty.
type fifo struct {
	messages []*Message
	head     int // of the first
}

// keptRoom is how much room an empty fifo keeps.
const keptRoom = 1024

func (q *fifo) len() int { return len(q.messages) - q.head }

func (q *fifo) push(messages []*Message) {
	if q.head > 0 && len(q.messages)+len(messages) > cap(q.messages) && q.head >= q.len() {
		n := copy(q.messages, q.messages[q.head:]) // no larger an array is needed
		clear(q.messages[n:])
		q.messages, q.head = q.messages[:n], 0
	}
	q.messages = append(q.messages, messages...)
}

// peek returns the first message, nil if there is none.
func (q *fifo) peek() *Message {
	if q.len() == 0 {
		return nil
	}
	return q.messages[q.head]
}

// pop takes the first message, nil if there is none.
func (q *fifo) pop() *Message {
	m := q.peek()
	if m == nil {
		return nil
	}
	q.messages[q.head] = nil // its memory can go
	if q.head++; q.len() == 0 {
		q.messages, q.head = q.messages[:0], 0
		if cap(q.messages) > keptRoom {
			q.messages = nil
		}
	}
	return m
}
