package triggers

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Streams is the process that runs the triggers.
type Streams interface {
	// Create starts a stream, or refuses its config and leaves nothing.
	Create(ctx context.Context, id string, config []byte) error
	// Update replaces a running stream, or refuses the config and leaves the old
	// one running.
	Update(ctx context.Context, id string, config []byte) error
	// Check refuses a config that could not be started, and starts nothing.
	Check(ctx context.Context, config []byte) error
	// Delete ends a stream, once what it has read is sent and acknowledged.
	Delete(ctx context.Context, id string) error
	// Running are the IDs of all streams.
	Running(ctx context.Context) (map[string]bool, error)
	// Connected waits until the stream's input and output are connected.
	Connected(ctx context.Context, id string) error
}

// Manager makes and changes triggers, in the running process and in the streams
// directory.
//
// Each change is prepared in the directory, made in the process, which may refuse
// it, and committed in the directory, by one rename. So the directory never holds
// what the process has not accepted, which would keep it from starting again. A
// command that is cut off between the last two steps leaves the process ahead of
// the directory, until the command is repeated.
type Manager struct {
	Dir     Dir
	Streams Streams
	// Warn says what the user should know and what is no reason to fail.
	Warn func(error)
}

// connectTimeout is how long a command waits to be able to say that a trigger
// does not reach its broker.
const connectTimeout = 5 * time.Second

// Create makes a trigger from a template. Its ID and its time of creation are
// kept, if it has them.
func (m *Manager) Create(ctx context.Context, t Trigger, template []byte, c Connection) (Trigger, error) {
	t, err := m.complete(t)
	if err != nil {
		return t, err
	}
	text, err := Render(t, template, c)
	if err != nil {
		return t, err
	}
	file, err := m.Dir.stage(t.ID, text)
	if err != nil {
		return t, err
	}
	defer file.discard()
	if t.Status == Paused {
		if err := m.Streams.Check(ctx, text); err != nil {
			return t, err
		}
		return t, file.commit(t.ID, t.Status)
	}
	if err := m.Streams.Create(ctx, t.ID, text); err != nil {
		return t, err
	}
	if err := file.commit(t.ID, t.Status); err != nil {
		return t, errors.Join(err, m.Streams.Delete(ctx, t.ID))
	}
	m.awaitConnection(ctx, t)
	return t, nil
}

// complete fills in the ID and the time of creation.
func (m *Manager) complete(t Trigger) (Trigger, error) {
	if err := m.nameIsFree(t.Name, ""); err != nil {
		return t, err
	}
	switch {
	case t.ID == "":
		// Most triggers keep their first name, and it is what a user wants to read
		// in logs and metrics.
		t.ID = t.Name
		for n := 2; m.Dir.Has(t.ID); n++ {
			t.ID = fmt.Sprintf("%s-%d", t.Name, n)
		}
	case m.Dir.Has(t.ID):
		return t, fmt.Errorf("ID %q is taken: there is a file of that name in %s", t.ID, string(m.Dir))
	}
	if t.CreatedAt == "" {
		t.CreatedAt = Now()
	}
	return t, nil
}

// Now is the time as a trigger has it.
func Now() string { return time.Now().UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) }

// nameIsFree checks that no trigger has the name, but for the one with an ID.
func (m *Manager) nameIsFree(name, but string) error {
	all, _, err := m.Dir.List()
	if err != nil {
		return err
	}
	for _, t := range all {
		if t.Name == name && t.ID != but {
			return fmt.Errorf("name %q is taken: choose another, or change that trigger with `iotcast trigger update %s`", name, name)
		}
	}
	return nil
}

// Update changes a trigger to what t says, and its connection to what of c is
// not empty. All else in its file stays as it is.
func (m *Manager) Update(ctx context.Context, old Stored, t Trigger, c Connection) (Trigger, error) {
	if err := m.nameIsFree(t.Name, old.ID); err != nil {
		return t, err
	}
	text, err := old.Render(t, c)
	if err != nil {
		return t, err
	}
	file, err := m.Dir.stage(t.ID, text)
	if err != nil {
		return t, err
	}
	defer file.discard()
	if t.Status == Paused {
		if err := m.Streams.Check(ctx, text); err != nil {
			return t, err
		}
		return t, file.commit(t.ID, t.Status)
	}
	if err := m.put(ctx, t.ID, text); err != nil {
		return t, err
	}
	if err := file.commit(t.ID, t.Status); err != nil {
		return t, errors.Join(err, m.Streams.Update(ctx, t.ID, old.text))
	}
	m.awaitConnection(ctx, t)
	return t, nil
}

// put updates the stream, or makes it if it has been lost.
func (m *Manager) put(ctx context.Context, id string, text []byte) error {
	running, err := m.Streams.Running(ctx)
	if err != nil {
		return err
	}
	if running[id] {
		return m.Streams.Update(ctx, id, text)
	}
	return m.Streams.Create(ctx, id, text)
}

// Render is the text of the trigger's file after an update.
func (s Stored) Render(t Trigger, c Connection) ([]byte, error) {
	s.stream.changeRule(s.Rule, t.Rule)
	s.stream.setConnection(c)
	return s.stream.file(t)
}

// Pause ends the trigger's stream and keeps the trigger. To pause it again mends
// what a pause that was cut off has left.
func (m *Manager) Pause(ctx context.Context, t Stored) (Trigger, error) {
	running, err := m.Streams.Running(ctx)
	if err != nil {
		return t.Trigger, err
	}
	if running[t.ID] {
		if err := m.Streams.Delete(ctx, t.ID); err != nil {
			return t.Trigger, err
		}
	}
	if t.Status != Paused {
		err = m.Dir.setStatus(t.ID, Active, Paused)
		t.Status = Paused
	}
	return t.Trigger, err
}

// Resume starts the stream of a trigger that is paused, or has been lost.
func (m *Manager) Resume(ctx context.Context, t Stored) (Trigger, error) {
	running, err := m.Streams.Running(ctx)
	if err != nil {
		return t.Trigger, err
	}
	if !running[t.ID] {
		if err := m.Streams.Create(ctx, t.ID, t.text); err != nil {
			return t.Trigger, err
		}
	}
	if t.Status != Active {
		err = m.Dir.setStatus(t.ID, Paused, Active)
		t.Status = Active
	}
	if err == nil {
		m.awaitConnection(ctx, t.Trigger)
	}
	return t.Trigger, err
}

// Delete ends the trigger for good, and makes the MQTT broker forget its
// session, which would go on collecting messages that nobody asks for.
func (m *Manager) Delete(ctx context.Context, t Stored) error {
	running, err := m.Streams.Running(ctx)
	if err != nil {
		return err
	}
	if running[t.ID] {
		if err := m.Streams.Delete(ctx, t.ID); err != nil {
			return err
		}
	}
	if err := m.Dir.remove(t.ID, t.Status); err != nil {
		return err
	}
	if err := m.forgetSession(ctx, t); err != nil {
		m.Warn(fmt.Errorf("the MQTT broker may keep the session of client ID %q, with messages for it: %w", t.stream.clientID(), err))
	}
	return nil
}

func (m *Manager) forgetSession(ctx context.Context, t Stored) error {
	config, err := t.stream.farewell()
	if config == nil || err != nil {
		return err
	}
	if err := m.Streams.Create(ctx, t.ID, config); err != nil {
		return err
	}
	return errors.Join(m.connected(ctx, t.ID), m.Streams.Delete(ctx, t.ID))
}

// Warnings tells of triggers that do not run as their status says.
func (m *Manager) Warnings(ctx context.Context, all []Trigger) {
	running, err := m.Streams.Running(ctx)
	if err != nil {
		m.Warn(fmt.Errorf("this is what the streams directory says; whether it runs is unknown: %w", err))
		return
	}
	for _, t := range all {
		switch {
		case running[t.ID] && t.Status == Paused:
			m.Warn(fmt.Errorf("trigger %s is %s, but its stream runs: end it with `iotcast trigger pause %s`", t.Name, Paused, t.Name))
		case !running[t.ID] && t.Status == Active:
			m.Warn(fmt.Errorf("trigger %s is %s, but its stream does not run: start it with `iotcast trigger resume %s`", t.Name, Active, t.Name))
		}
	}
}

func (m *Manager) awaitConnection(ctx context.Context, t Trigger) {
	if err := m.connected(ctx, t.ID); err != nil {
		m.Warn(fmt.Errorf("trigger %s runs, but is not connected yet and goes on trying: %w", t.Name, err))
	}
}

func (m *Manager) connected(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return m.Streams.Connected(ctx, id)
}
