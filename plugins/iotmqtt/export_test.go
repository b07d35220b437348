package iotmqtt

// Restart forgets what a process that was started again would not know.
func Restart() {
	subscribed.mu.Lock()
	defer subscribed.mu.Unlock()
	clear(subscribed.of)
}

var Needed = needed
