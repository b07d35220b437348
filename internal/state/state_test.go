package state

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustOpen(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func put(key, value string) func(*Tx) error {
	return func(tx *Tx) error {
		return tx.Put(Devices, key, Record{Resource: []byte(value), Private: []byte("secret of " + value)})
	}
}

func TestRecordsOutliveTheStore(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "here")
	s := mustOpen(t, dir)
	for i := range 3 {
		if err := s.Write(put("r/boiler", fmt.Sprint("boiler ", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Write(put("r/late", "late")); !errors.Is(err, errClosed) {
		t.Fatalf("writing to a closed store: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, fileName))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file holds hashes of passwords, and has the mode %v (%v)", info.Mode(), err)
	}
	_ = mustOpen(t, dir).Read(func(tx *Tx) error {
		r, ok, err := tx.Get(Devices, "r/boiler")
		if !ok || err != nil || string(r.Resource) != "boiler 2" || string(r.Private) != "secret of boiler 2" || r.Version != 3 {
			t.Errorf("got %+v, %v, %v", r, ok, err)
		}
		return nil
	})
}

func TestWalkByPrefixAndKey(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	for _, key := range []string{"a/1", "a/2", "a/3", "ab/1", "b/1"} {
		if err := s.Write(put(key, key)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ prefix, after, want string }{
		{"a/", "", "a/1 a/2 a/3"},
		{"a/", "a/1", "a/2 a/3"},
		{"a/", "a/15", "a/2 a/3"},
		{"a/", "a/3", ""},
		{"", "a/3", "ab/1 b/1"},
		{"c", "", ""},
	} {
		var keys []string
		_ = s.Read(func(tx *Tx) error {
			for one, err := range tx.Walk(Devices, c.prefix, c.after) {
				if err != nil {
					t.Error(err)
				}
				keys = append(keys, one.Key)
			}
			return nil
		})
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("prefix %q after %q: %q, want %q", c.prefix, c.after, got, c.want)
		}
	}
}

// A change that is refused leaves nothing, whether it has written or not, and those that are written with it stay.
func TestRefusedChangesAreAlone(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	refused := errors.New("refused")
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			key := fmt.Sprintf("r/%02d", i)
			err := s.Write(func(tx *Tx) error {
				if i%3 == 1 {
					return refused
				}
				if err := put(key, key)(tx); err != nil || i%3 == 0 {
					return err
				}
				return refused
			})
			if want := i%3 != 0; errors.Is(err, refused) != want || !want && err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		})
	}
	all.Wait()
	_ = s.Read(func(tx *Tx) error {
		for i := range 60 {
			if _, ok, _ := tx.Get(Devices, fmt.Sprintf("r/%02d", i)); ok != (i%3 == 0) {
				t.Errorf("record %d is there: %v", i, ok)
			}
		}
		return nil
	})
}

func TestNames(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	err := s.Write(func(tx *Tx) error {
		return errors.Join(tx.Name(Devices, "r", "boiler", "r/1"), tx.Name(Devices, "q", "boiler", "q/1"), tx.Unname(Devices, "q", "boiler"))
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Read(func(tx *Tx) error {
		if a, b := tx.Named(Devices, "r", "boiler"), tx.Named(Devices, "q", "boiler"); a != "r/1" || b != "" {
			t.Errorf("got %q and %q", a, b)
		}
		return nil
	})
}

func TestOperationsAreBounded(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	err := s.Write(func(tx *Tx) error {
		for i := range maxOperations + 50 {
			if err := tx.AddOperation(fmt.Sprintf("%08d", i), []string{"a", "b"}[i%2], fmt.Append(nil, "operation ", i)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Read(func(tx *Tx) error {
		if tx.Operation("00000049") != nil || string(tx.Operation("00000050")) != "operation 50" {
			t.Error("not the oldest went")
		}
		last := fmt.Sprint("operation ", maxOperations+48)
		if all := tx.Operations("a", "", 2); len(all) != 2 || string(all[0]) != last {
			t.Errorf("the newest of a are %q, want %q first", all, last)
		}
		if all := tx.Operations("a", "00000054", 10); len(all) != 2 || string(all[1]) != "operation 50" {
			t.Errorf("before 54 there are %q", all)
		}
		if all := tx.Operations("c", "", 10); len(all) != 0 {
			t.Errorf("c has %q", all)
		}
		return nil
	})
}

func TestOneProcessAtATime(t *testing.T) {
	dir := t.TempDir()
	mustOpen(t, dir)
	if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another process has it open") {
		t.Fatalf("got %v", err)
	}
}

// sample is a file with some records, as far as it is in use.
func sample(t testing.TB) []byte {
	dir := t.TempDir()
	s := mustOpen(t, dir)
	err := s.Write(func(tx *Tx) error {
		for i := range 300 {
			key := fmt.Sprintf("r/%03d", i)
			if err := errors.Join(put(key, strings.Repeat(key, 20))(tx), tx.Name(Devices, "r", key, key)); err != nil {
				return err
			}
		}
		return tx.AddOperation("1", "r/001", []byte("operation"))
	})
	if err != nil {
		t.Fatal(err)
	}
	var used int64
	_ = s.Read(func(tx *Tx) error { used = tx.tx.Size(); return nil })
	_ = s.Close()
	text, err := os.ReadFile(filepath.Join(dir, fileName))
	if err != nil {
		t.Fatal(err)
	}
	return text[:used]
}

func TestDamagedFilesAreRefusedAndKept(t *testing.T) {
	good := sample(t)
	other := filepath.Join(t.TempDir(), "other.db")
	db, err := bbolt.Open(other, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = db.Close()
	foreign, err := os.ReadFile(other)
	if err != nil {
		t.Fatal(err)
	}
	flipped := append([]byte{}, good...)
	at := strings.LastIndex(string(flipped), "r/123r/123r/123")
	flipped[at] ^= 1
	// changed is the file with each page of a kind overwritten from its byte at on.
	changed := func(kind uint16, at int, number func(id uint64) uint64) []byte {
		content := append([]byte{}, good...)
		for page := range slices.Chunk(content, os.Getpagesize()) {
			if order.Uint16(page[8:]) == kind {
				order.PutUint64(page[at:], number(order.Uint64(page)))
			}
		}
		return content
	}
	itself := func(id uint64) uint64 { return id }
	endless := func(uint64) uint64 { return 1 << 40 }
	for name, content := range map[string][]byte{
		"empty": {}, "text": []byte("registries: []\n"), "of another program": foreign, "a record": flipped,
		"a branch that leads to itself": changed(branchPage, headerSize+8, itself), "a key without end": changed(leafPage, headerSize+8, endless),
		"free pages without end": changed(freelistPage, 8, func(uint64) uint64 { return freelistPage | countFollows<<16 }),
		"a page":                 good[:4096], "half": good[:len(good)/2/4096*4096], "not quite": good[:len(good)-4096], "odd": good[:len(good)/2+77],
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, fileName)
			if err := os.WriteFile(path, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if s, err := Open(dir); err == nil {
				_ = s.Close()
				t.Fatal("it was opened")
			} else if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "damaged") {
				t.Errorf("the error names neither the file nor what is wrong: %v", err)
			}
			if now, _ := os.ReadFile(path); !bytes.Equal(now, content) {
				t.Error("the file was changed")
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	good := sample(f)
	f.Add(uint32(0), []byte{0})
	f.Add(uint32(4096+16), []byte{0xff, 0xff})
	f.Add(uint32(3*4096), []byte{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12})
	f.Fuzz(func(t *testing.T, at uint32, damage []byte) {
		content := append([]byte{}, good...)
		copy(content[int(at)%len(content):], damage)
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), content, 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := Open(dir); err == nil { // it may have hit what is in no use
			_ = s.Close()
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprint(callers, "_callers"), func(b *testing.B) {
			s := mustOpen(b, b.TempDir())
			var all sync.WaitGroup
			for c := range callers {
				all.Go(func() {
					for i := c; i < b.N; i += callers {
						key := fmt.Sprintf("r/%08d", i)
						if err := s.Write(put(key, strings.Repeat(key, 20))); err != nil {
							b.Error(err)
						}
					}
				})
			}
			all.Wait()
		})
	}
}

// Whatever ends a change ends that change alone.
func TestPanicsEndAChange(t *testing.T) {
	s := mustOpen(t, t.TempDir())
	if err := s.Write(func(*Tx) error { panic("damaged") }); !errors.Is(err, errPanicked) {
		t.Errorf("got %v", err)
	}
	if err := s.Write(put("r/1", "1")); err != nil {
		t.Error(err)
	}
}
